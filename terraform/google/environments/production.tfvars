environment        = "production"
name               = "sentigraph-prod"
cidr               = "10.30.0.0/16"
kubernetes_version = "1.34"
# Your office or VPN; none makes the API server private.
api_cidrs           = []
domain              = "production.sentigraph.example.com"
deletion_protection = true
highly_available    = true
database_class      = "db-custom-2-7680"
database_gb         = 100
vault_address       = "https://vault.production.sentigraph.internal:8200"
# Each environment has a Vault of its own.
create_vault_mount = true
project            = "sentigraph-production"
project_number     = "123456789012"
region             = "europe-west4"
zones              = ["europe-west4-a", "europe-west4-b"]
redis_gb           = 5
kafka_vcpus        = 3
pools = {
  cpu        = { machine = "n2-standard-16", min = 3, max = 12 }
  gpu        = { machine = "g2-standard-8", min = 2, max = 8, gpus = 1, disk_gb = 150 }
  "gpu-spot" = { machine = "g2-standard-8", min = 0, max = 6, gpus = 1, spot = true, disk_gb = 150 }
}
