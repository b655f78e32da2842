environment        = "development"
name               = "sentigraph-dev"
cidr               = "10.10.0.0/16"
kubernetes_version = "1.34"
# Your office or VPN; none makes the API server private.
api_cidrs           = []
domain              = "development.sentigraph.example.com"
deletion_protection = false
highly_available    = false
database_class      = "db-custom-2-7680"
database_gb         = 50
vault_address       = "https://vault.development.sentigraph.internal:8200"
# Each environment has a Vault of its own.
create_vault_mount = true
project            = "sentigraph-development"
project_number     = "123456789012"
region             = "europe-west4"
zones              = ["europe-west4-a", "europe-west4-b"]
redis_gb           = 1
kafka_vcpus        = 0
pools = {
  cpu = { machine = "n2-standard-8", min = 2, max = 4 }
}
