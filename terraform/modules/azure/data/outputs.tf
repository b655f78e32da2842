output "storage_account_id" {
  description = "The artifact account."
  value       = azurerm_storage_account.artifacts.id
}

output "artifacts_destination" {
  description = "The chart's mlflow.artifactsDestination."
  value       = "wasbs://${azurerm_storage_container.mlflow.name}@${azurerm_storage_account.artifacts.name}.blob.core.windows.net"
}

output "redis_address" {
  description = "The chart's gcsFaultTolerance.redisAddress."
  value       = "rediss://${azurerm_redis_cache.ray.hostname}:6380"
}

output "redis_password" {
  description = "For Vault; Azure makes it."
  value       = azurerm_redis_cache.ray.primary_access_key
  sensitive   = true
}

output "database_address" {
  description = "Host of the database."
  value       = azurerm_postgresql_flexible_server.mlflow.fqdn
}

output "kafka_brokers" {
  description = "Bootstrap servers; empty without Kafka."
  value       = join(",", [for namespace in azurerm_eventhub_namespace.this : "${namespace.name}.servicebus.windows.net:9093"])
}
