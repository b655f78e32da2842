output "bucket" {
  description = "The artifact bucket."
  value       = google_storage_bucket.artifacts.name
}

output "artifacts_destination" {
  description = "The chart's mlflow.artifactsDestination."
  value       = "gs://${google_storage_bucket.artifacts.name}"
}

output "redis_address" {
  description = "The chart's gcsFaultTolerance.redisAddress."
  value       = "rediss://${google_redis_instance.ray.host}:6378"
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

output "kafka_brokers" {
  description = "Bootstrap servers; empty without Kafka."
  value       = length(google_managed_kafka_cluster.this) == 0 ? "" : "bootstrap.${var.name}.${var.region}.managedkafka:9092"
}
