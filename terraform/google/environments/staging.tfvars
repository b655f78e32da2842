environment        = "staging"
name               = "sentigraph-stage"
cidr               = "10.20.0.0/16"
kubernetes_version = "1.34"
# Your office or VPN; none makes the API server private.
api_cidrs           = []
domain              = "staging.sentigraph.example.com"
deletion_protection = true
highly_available    = false
database_class      = "db-custom-2-7680"
database_gb         = 50
vault_address       = "https://vault.staging.sentigraph.internal:8200"
# Each environment has a Vault of its own.
create_vault_mount = true
project            = "sentigraph-staging"
project_number     = "123456789012"
region             = "europe-west4"
zones              = ["europe-west4-a", "europe-west4-b"]
redis_gb           = 1
kafka_vcpus        = 0
pools = {
  cpu = { machine = "n2-standard-8", min = 2, max = 4 }
  gpu = { machine = "g2-standard-8", min = 1, max = 2, gpus = 1, spot = true, disk_gb = 150 }
}
