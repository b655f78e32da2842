output "endpoint" {
  description = "Address of the API server."
  value       = "https://${google_container_cluster.this.endpoint}"
}

output "ca_certificate" {
  description = "Its certificate authority, PEM."
  value       = base64decode(one(google_container_cluster.this.master_auth[*].cluster_ca_certificate))
}

output "service_account" {
  description = "The chart's serviceAccount: workload identity."
  value = {
    annotations = { "iam.gke.io/gcp-service-account" = google_service_account.workload.email }
    podLabels   = {}
  }
}
