output "bucket_arn" {
  description = "The artifact bucket."
  value       = aws_s3_bucket.artifacts.arn
}

output "artifacts_destination" {
  description = "The chart's mlflow.artifactsDestination."
  value       = "s3://${aws_s3_bucket.artifacts.bucket}"
}

output "redis_address" {
  description = "The chart's gcsFaultTolerance.redisAddress."
  value       = "rediss://${aws_elasticache_replication_group.ray.primary_endpoint_address}:6379"
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

output "kafka_brokers" {
  description = "Bootstrap servers; empty without Kafka."
  value       = join(",", aws_msk_cluster.this[*].bootstrap_brokers_sasl_iam)
}
