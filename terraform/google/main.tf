# sentigraph on Google Cloud: network, GKE, data, DNS, and the entry in Vault that the chart reads.
locals {
  namespace = "sentigraph-${var.environment}"
  # Services that encrypt with our key, by their agents.
  agents = toset([
    "service-${var.project_number}@container-engine-robot.iam.gserviceaccount.com",
    "service-${var.project_number}@gs-project-accounts.iam.gserviceaccount.com",
    "service-${var.project_number}@gcp-sa-cloud-sql.iam.gserviceaccount.com",
    "service-${var.project_number}@cloud-redis.iam.gserviceaccount.com",
    "service-${var.project_number}@gcp-sa-managedkafka.iam.gserviceaccount.com",
  ])
}

resource "google_kms_key_ring" "this" {
  name     = var.name
  location = var.region
}

resource "google_kms_crypto_key" "this" {
  #checkov:skip=CKV_GCP_82:Google destroys a key version 30 days later; prevent_destroy cannot follow a variable.
  name            = "data"
  key_ring        = google_kms_key_ring.this.id
  rotation_period = "7776000s"
}

resource "google_kms_crypto_key_iam_member" "agents" {
  for_each      = local.agents
  crypto_key_id = google_kms_crypto_key.this.id
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = "serviceAccount:${each.key}"
}

module "network" {
  source = "../modules/google/network"
  name   = var.name
  region = var.region
  cidr   = var.cidr
}

module "cluster" {
  source              = "../modules/google/cluster"
  name                = var.name
  project             = var.project
  region              = var.region
  zones               = var.zones
  kubernetes_version  = var.kubernetes_version
  network_id          = module.network.network_id
  subnet_id           = module.network.subnet_id
  pools               = var.pools
  api_cidrs           = var.api_cidrs
  kms_key_id          = google_kms_crypto_key.this.id
  bucket              = module.data.bucket
  namespace           = local.namespace
  deletion_protection = var.deletion_protection
  depends_on          = [google_kms_crypto_key_iam_member.agents]
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
  source              = "../modules/google/data"
  name                = var.name
  region              = var.region
  network_id          = module.network.network_id
  subnet_id           = module.network.subnet_id
  kms_key_id          = google_kms_crypto_key.this.id
  highly_available    = var.highly_available
  deletion_protection = var.deletion_protection
  database_class      = var.database_class
  database_gb         = var.database_gb
  database_password   = random_password.database.result
  redis_gb            = var.redis_gb
  kafka_vcpus         = var.kafka_vcpus
  project             = var.project
  depends_on          = [google_kms_crypto_key_iam_member.agents]
}

module "dns" {
  source     = "../modules/google/dns"
  name       = var.name
  project    = var.project
  domain     = var.domain
  depends_on = [module.cluster]
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
