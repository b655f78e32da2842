# What the variables refuse; they are the same in all three clouds, which a test holds.
# terraform test -var-file=environments/production.tfvars
mock_provider "aws" {
  mock_data "aws_availability_zones" {
    defaults = { names = ["eu-central-1a", "eu-central-1b", "eu-central-1c"] }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:eu-central-1:123456789012:key/0" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/r" }
  }
  mock_resource "aws_s3_bucket" {
    defaults = { arn = "arn:aws:s3:::b" }
  }
  mock_resource "aws_subnet" {
    defaults = { id = "subnet-1" }
  }
  mock_resource "aws_elasticache_replication_group" {
    defaults = { primary_endpoint_address = "master.redis.internal" }
  }
  mock_resource "aws_eks_cluster" {
    defaults = {
      endpoint              = "https://cluster.internal"
      certificate_authority = [{ data = "Y2VydGlmaWNhdGU=" }]
      vpc_config            = { cluster_security_group_id = "sg-1" }
    }
  }
}

mock_provider "random" {
  mock_resource "random_password" {
    defaults = { result = "abcdefghijklmnopqrstuvwxyz012345" }
  }
}

mock_provider "vault" {}


run "never_open_to_the_internet" {
  command = plan
  variables {
    api_cidrs = ["0.0.0.0/0"]
  }
  expect_failures = [var.api_cidrs]
}

run "no_pool_for_the_head" {
  command = plan
  variables {
    pools = { gpu = { machine = "g", min = 1, max = 2, gpus = 1 } }
  }
  expect_failures = [var.pools]
}

run "bounds_the_wrong_way_round" {
  command = plan
  variables {
    pools = { cpu = { machine = "c", min = 3, max = 2 } }
  }
  expect_failures = [var.pools]
}

run "unknown_environment" {
  command = plan
  variables {
    environment = "prod-eu"
  }
  expect_failures = [var.environment]
}

run "network_too_small" {
  command = plan
  variables {
    cidr = "10.1.2.0/24"
  }
  expect_failures = [var.cidr]
}

run "vault_without_tls" {
  command = plan
  variables {
    vault_address = "http://vault:8200"
  }
  expect_failures = [var.vault_address]
}

run "a_key_in_the_place_of_its_digest" {
  command = plan
  variables {
    api_keys = "[{\"id\": \"shop\", \"sha256\": \"sg_secret\", \"roles\": [\"predict\"]}]"
  }
  expect_failures = [var.api_keys]
}

run "short_kafka_password" {
  command = plan
  variables {
    kafka_password = "short"
  }
  expect_failures = [var.kafka_password]
}

run "vault_gets_what_is_there" {
  command = plan
  module {
    source = "../modules/vault"
  }
  variables {
    namespace                 = "sentigraph-production"
    mount                     = "mlops-sentiment"
    create_mount              = true
    kubernetes_host           = "https://cluster.internal"
    kubernetes_ca_certificate = "pem"
    secrets = {
      redis-password      = "r"
      mlflow-backend-uri  = "postgresql+psycopg2://mlflow:p@db:5432/mlflow"
      jobs-database       = "postgresql+psycopg2://mlflow:p@db:5432/mlflow"
      jobs-webhook-secret = "sixteen-letters-1"
      kafka-password      = ""
      api-keys            = ""
    }
  }
  assert {
    condition     = nonsensitive(join(" ", keys(jsondecode(vault_kv_secret_v2.this.data_json)))) == "jobs-database jobs-webhook-secret mlflow-backend-uri redis-password"
    error_message = "An empty secret must be left out, every other one written."
  }
}

run "jobs_in_a_file" {
  command = plan
  module {
    source = "../modules/vault"
  }
  variables {
    namespace                 = "sentigraph-production"
    mount                     = "mlops-sentiment"
    create_mount              = true
    kubernetes_host           = "https://cluster.internal"
    kubernetes_ca_certificate = "pem"
    secrets = {
      redis-password      = "r"
      mlflow-backend-uri  = "postgresql+psycopg2://mlflow:p@db:5432/mlflow"
      jobs-database       = "sqlite:////app/jobs.db"
      jobs-webhook-secret = "sixteen-letters-1"
      kafka-password      = ""
      api-keys            = ""
    }
  }
  expect_failures = [var.secrets]
}

run "spot_and_gpu_pools_are_tainted" {
  command = plan
  module {
    source = "../modules/aws/cluster"
  }
  variables {
    name               = "sentigraph-test"
    kubernetes_version = "1.34"
    subnet_ids         = ["a", "b"]
    kms_key_arn        = "arn:aws:kms:x"
    bucket_arn         = "arn:aws:s3:::b"
    namespace          = "sentigraph-test"
    pools = {
      cpu      = { machine = "m7i.large", min = 1, max = 2 }
      gpu-spot = { machine = "g6.xlarge", min = 0, max = 2, gpus = 1, spot = true }
    }
  }
  assert {
    condition = toset([for taint in aws_eks_node_group.this["gpu-spot"].taint : taint.key]) == toset([
      "nvidia.com/gpu", "sentigraph/spot"
    ])
    error_message = "Others' pods would land on cards."
  }
  assert {
    condition     = length(aws_eks_node_group.this["cpu"].taint) == 0
    error_message = "Nothing could run without a toleration."
  }
}
