environment        = "production"
name               = "sentigraph-prod"
cidr               = "10.30.0.0/16"
kubernetes_version = "1.34"
# Your office or VPN; none makes the API server private.
api_cidrs           = []
domain              = "production.sentigraph.example.com"
deletion_protection = true
highly_available    = true
database_class      = "db.m7g.large"
database_gb         = 100
vault_address       = "https://vault.production.sentigraph.internal:8200"
# Each environment has a Vault of its own.
create_vault_mount = true
region             = "eu-central-1"
redis_class        = "cache.m7g.large"
kafka_class        = "kafka.m7g.large"
pools = {
  cpu        = { machine = "m7i.4xlarge", min = 3, max = 12 }
  gpu        = { machine = "g6.2xlarge", min = 2, max = 8, gpus = 1, disk_gb = 150 }
  "gpu-spot" = { machine = "g6.2xlarge", min = 0, max = 6, gpus = 1, spot = true, disk_gb = 150 }
}
