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
