# The whole environment against mocked providers: terraform test -var-file=environments/production.tfvars
mock_provider "google" {
  mock_resource "google_service_account" {
    defaults = { email = "sentigraph@project.iam.gserviceaccount.com", name = "projects/p/serviceAccounts/s" }
  }
  mock_resource "google_container_cluster" {
    defaults = { endpoint = "10.0.0.2", master_auth = { cluster_ca_certificate = "Y2VydGlmaWNhdGU=" } }
  }
  mock_resource "google_redis_instance" {
    defaults = { host = "10.0.0.3", auth_string = "abcdefghijklmnopqrstuvwxyz012345", server_ca_certs = [{ cert = "-----BEGIN CERTIFICATE-----" }] }
  }
  mock_resource "google_sql_database_instance" {
    defaults = { private_ip_address = "10.0.0.4" }
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
