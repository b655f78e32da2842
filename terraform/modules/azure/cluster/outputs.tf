output "endpoint" {
  description = "Address of the API server."
  value       = one(azurerm_kubernetes_cluster.this.kube_config[*].host)
}

output "ca_certificate" {
  description = "Its certificate authority, PEM."
  value       = base64decode(one(azurerm_kubernetes_cluster.this.kube_config[*].cluster_ca_certificate))
  sensitive   = true
}

output "oidc_issuer_url" {
  description = "Issuer of the service accounts' tokens."
  value       = azurerm_kubernetes_cluster.this.oidc_issuer_url
}

output "service_account" {
  description = "The chart's mlflow.identity: workload identity."
  value = {
    annotations = { "azure.workload.identity/client-id" = azurerm_user_assigned_identity.mlflow.client_id }
    podLabels   = { "azure.workload.identity/use" = "true" }
  }
}
