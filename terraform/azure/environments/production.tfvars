environment        = "production"
name               = "sentigraph-prod"
cidr               = "10.30.0.0/16"
kubernetes_version = "1.34"
# Your office or VPN; none makes the API server private.
api_cidrs        = []
domain           = "production.sentigraph.example.com"
highly_available = true
database_class   = "GP_Standard_D2ds_v5"
database_gb      = 100
vault_address    = "https://vault.production.sentigraph.internal:8200"
# Each environment has a Vault of its own.
create_vault_mount = true
subscription_id    = "00000000-0000-0000-0000-000000000000"
location           = "westeurope"
system_machine     = "Standard_D4s_v5"
kafka_units        = 4
pools = {
  cpu        = { machine = "Standard_D16s_v5", min = 3, max = 12 }
  gpu        = { machine = "Standard_NC8as_T4_v3", min = 2, max = 8, gpus = 1, disk_gb = 150 }
  "gpu-spot" = { machine = "Standard_NC8as_T4_v3", min = 0, max = 6, gpus = 1, spot = true, disk_gb = 150 }
}
