# The whole environment against mocked providers: terraform test -var-file=environments/production.tfvars
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
  mock_resource "aws_msk_cluster" {
    defaults = {
      arn                          = "arn:aws:kafka:eu-central-1:123456789012:cluster/c/0"
      bootstrap_brokers_sasl_scram = "b-1.kafka.internal:9096,b-2.kafka.internal:9096"
    }
  }
  mock_resource "aws_secretsmanager_secret" {
    defaults = { arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:s" }
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


run "whole_environment" {
  assert {
    condition     = output.chart_values.gcsFaultTolerance.redisCidrs == [var.cidr]
    error_message = "The chart's policy must let the head reach Redis in this network."
  }
  assert {
    condition     = startswith(output.chart_values.gcsFaultTolerance.redisAddress, "rediss://")
    error_message = "Redis must speak TLS."
  }
  assert {
    condition     = output.chart_values.secrets.vault.path == "${var.environment}/sentigraph"
    error_message = "The path in Vault must be the environment's own."
  }
  assert {
    condition     = output.chart_values.secrets.vault.role == "sentigraph-${var.environment}"
    error_message = "The role must be the environment's own."
  }
}
