# sentigraph on AWS: network, EKS, data, DNS, and the entry in Vault that the chart reads.
data "aws_caller_identity" "current" {}

locals {
  namespace = "sentigraph-${var.environment}"
}

resource "aws_kms_key" "this" {
  description             = "Everything of ${var.name} at rest"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Action    = "kms:*"
        Resource  = "*"
        Principal = { AWS = "arn:aws:iam::${data.aws_caller_identity.current.account_id}:root" }
      },
      {
        Effect    = "Allow"
        Action    = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
        Resource  = "*"
        Principal = { Service = "logs.${var.region}.amazonaws.com" }
      },
    ]
  })
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.this.key_id
}

module "network" {
  source       = "../modules/aws/network"
  name         = var.name
  cidr         = var.cidr
  zone_count   = 3
  nat_per_zone = var.highly_available
  kms_key_arn  = aws_kms_key.this.arn
}

module "cluster" {
  source              = "../modules/aws/cluster"
  name                = var.name
  kubernetes_version  = var.kubernetes_version
  subnet_ids          = module.network.private_subnet_ids
  pools               = var.pools
  api_cidrs           = var.api_cidrs
  kms_key_arn         = aws_kms_key.this.arn
  bucket_arn          = module.data.bucket_arn
  namespace           = local.namespace
  deletion_protection = var.deletion_protection
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

# Of the user that MSK makes for streams, unless one is given.
resource "random_password" "kafka" {
  length  = 32
  special = false
}

resource "random_password" "redis" {
  length  = 32
  special = false
}

module "data" {
  source                 = "../modules/aws/data"
  name                   = var.name
  vpc_id                 = module.network.vpc_id
  subnet_ids             = module.network.private_subnet_ids
  node_security_group_id = module.cluster.security_group_id
  kms_key_arn            = aws_kms_key.this.arn
  highly_available       = var.highly_available
  deletion_protection    = var.deletion_protection
  database_class         = var.database_class
  database_gb            = var.database_gb
  database_password      = random_password.database.result
  redis_class            = var.redis_class
  redis_password         = random_password.redis.result
  kafka_class            = var.kafka_class
  kafka_password         = local.kafka_password
}

locals {
  kafka_password = coalesce(var.kafka_password, random_password.kafka.result)
}

module "dns" {
  source     = "../modules/aws/dns"
  name       = var.name
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
    kafka-password      = local.kafka_password
    api-keys            = var.api_keys
  }
}
