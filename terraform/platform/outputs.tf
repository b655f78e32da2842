output "namespace" {
  description = "Where the chart goes."
  value       = kubernetes_namespace_v1.sentigraph.metadata[0].name
}

output "operator_versions" {
  description = "What was installed."
  value       = { for name, release in helm_release.operator : name => release.version }
}
