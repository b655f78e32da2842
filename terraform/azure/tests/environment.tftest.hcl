# The whole environment against mocked providers: terraform test -var-file=environments/production.tfvars
mock_provider "azurerm" {
  mock_resource "azurerm_kubernetes_cluster" {
    defaults = {
      oidc_issuer_url = "https://issuer"
      kube_config     = [{ host = "https://cluster.internal", cluster_ca_certificate = "Y2VydGlmaWNhdGU=" }]
    }
  }
  mock_resource "azurerm_redis_cache" {
    defaults = { hostname = "ray.redis.cache.windows.net", primary_access_key = "abcdefghijklmnopqrstuvwxyz012345" }
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
