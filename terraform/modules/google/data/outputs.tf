output "bucket" {
  description = "The artifact bucket."
  value       = google_storage_bucket.artifacts.name
}

output "artifacts_destination" {
  description = "The chart's mlflow.artifactsDestination."
  value       = "gs://${google_storage_bucket.artifacts.name}"
}

output "redis_host" {
  description = "Where Redis answers, for Ray's head and the cache."
  value       = google_redis_instance.ray.host
}

output "redis_port" {
  description = "Its TLS port."
  value       = 6378
}

output "redis_ca_certificate" {
  description = "Memorystore has an authority of its own, PEM."
  value       = join("\n", google_redis_instance.ray.server_ca_certs[*].cert)
}

output "redis_password" {
  description = "For Vault; Memorystore makes it."
  value       = google_redis_instance.ray.auth_string
  sensitive   = true
}

output "database_address" {
  description = "Host of the database."
  value       = google_sql_database_instance.mlflow.private_ip_address
}

output "kafka" {
  description = "How streams reach Kafka and log in; an empty list without it."
  value = [for cluster in google_managed_kafka_cluster.this : {
    brokers   = ["bootstrap.${cluster.cluster_id}.${cluster.location}.managedkafka.${var.project}.cloud.goog:9092"]
    port      = 9092
    mechanism = "PLAIN"
    username  = google_service_account.streams.email
  }]
}
