environment        = "development"
name               = "sentigraph-dev"
cidr               = "10.10.0.0/16"
kubernetes_version = "1.34"
# Your office or VPN; none makes the API server private.
api_cidrs           = []
domain              = "development.sentigraph.example.com"
deletion_protection = false
highly_available    = false
database_class      = "db.t4g.medium"
database_gb         = 50
vault_address       = "https://vault.development.sentigraph.internal:8200"
# Each environment has a Vault of its own.
create_vault_mount = true
region             = "eu-central-1"
redis_class        = "cache.t4g.small"
kafka_class        = ""
pools = {
  cpu = { machine = "m7i.2xlarge", min = 2, max = 4 }
}
