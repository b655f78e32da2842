# sentigraph on Azure: network, AKS, data, DNS, and the entry in Vault that the chart reads.
locals {
  namespace = "sentigraph-${var.environment}"
}

resource "azurerm_resource_group" "this" {
  name     = var.name
  location = var.location
  tags     = { app = "sentigraph", environment = var.environment }
}

module "network" {
  source         = "../modules/azure/network"
  name           = var.name
  location       = var.location
  resource_group = azurerm_resource_group.this.name
  cidr           = var.cidr
}

module "cluster" {
  source             = "../modules/azure/cluster"
  name               = var.name
  location           = var.location
  resource_group     = azurerm_resource_group.this.name
  kubernetes_version = var.kubernetes_version
  subnet_id          = module.network.node_subnet_id
  system_machine     = var.system_machine
  pools              = var.pools
  api_cidrs          = var.api_cidrs
  storage_account_id = module.data.storage_account_id
  namespace          = local.namespace
}

resource "random_password" "database" {
  length = 32
  # Goes into an address, unescaped.
  special = false
}

# Receivers of messages about jobs need it too.
resource "random_password" "webhook" {
  length  = 48
  special = false
}

module "data" {
  source             = "../modules/azure/data"
  name               = var.name
  location           = var.location
  resource_group     = azurerm_resource_group.this.name
  network_id         = module.network.network_id
  endpoint_subnet_id = module.network.endpoint_subnet_id
  database_subnet_id = module.network.database_subnet_id
  highly_available   = var.highly_available
  database_class     = var.database_class
  database_gb        = var.database_gb
  database_password  = random_password.database.result
  kafka_units        = var.kafka_units
}

module "dns" {
  source          = "../modules/azure/dns"
  name            = var.name
  location        = var.location
  resource_group  = azurerm_resource_group.this.name
  domain          = var.domain
  oidc_issuer_url = module.cluster.oidc_issuer_url
}

# The two tables of batch jobs stand beside MLflow's.
locals {
  database_uri = "postgresql+psycopg2://mlflow:${random_password.database.result}@${module.data.database_address}:5432/mlflow?sslmode=require"
}

module "vault" {
  source                    = "../modules/vault"
  environment               = var.environment
  namespace                 = local.namespace
  mount                     = var.vault_mount
  create_mount              = var.create_vault_mount
  kubernetes_host           = module.cluster.endpoint
  kubernetes_ca_certificate = module.cluster.ca_certificate
  secrets = {
    redis-password      = module.data.redis_password
    mlflow-backend-uri  = local.database_uri
    jobs-database       = local.database_uri
    jobs-webhook-secret = random_password.webhook.result
    kafka-password      = var.kafka_password
    api-keys            = var.api_keys
  }
}
