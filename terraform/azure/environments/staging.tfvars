environment        = "staging"
name               = "sentigraph-stage"
cidr               = "10.20.0.0/16"
kubernetes_version = "1.34"
# Your office or VPN; none makes the API server private.
api_cidrs        = []
domain           = "staging.sentigraph.example.com"
highly_available = false
database_class   = "B_Standard_B2s"
database_gb      = 50
vault_address    = "https://vault.staging.sentigraph.internal:8200"
# Each environment has a Vault of its own.
create_vault_mount = true
subscription_id    = "00000000-0000-0000-0000-000000000000"
location           = "westeurope"
system_machine     = "Standard_D4s_v5"
kafka_units        = 0
pools = {
  cpu = { machine = "Standard_D8s_v5", min = 2, max = 4 }
  gpu = { machine = "Standard_NC8as_T4_v3", min = 1, max = 2, gpus = 1, spot = true, disk_gb = 150 }
}
