output "bucket_arn" {
  description = "The artifact bucket."
  value       = aws_s3_bucket.artifacts.arn
}

output "artifacts_destination" {
  description = "The chart's mlflow.artifactsDestination."
  value       = "s3://${aws_s3_bucket.artifacts.bucket}"
}

output "redis_host" {
  description = "Where Redis answers, for Ray's head and the cache."
  value       = aws_elasticache_replication_group.ray.primary_endpoint_address
}

output "redis_port" {
  description = "Its TLS port."
  value       = 6379
}

output "redis_ca_certificate" {
  description = "Empty: a public authority signs it."
  value       = ""
}

output "redis_password" {
  description = "For Vault."
  value       = var.redis_password
  sensitive   = true
}

output "database_address" {
  description = "Host of the database."
  value       = aws_db_instance.mlflow.address
}

output "kafka" {
  description = "How streams reach Kafka and log in; an empty list without it."
  value = [for cluster in aws_msk_cluster.this : {
    brokers   = split(",", cluster.bootstrap_brokers_sasl_scram)
    port      = 9096
    mechanism = "SCRAM-SHA-512"
    username  = local.kafka_user
  }]
}
