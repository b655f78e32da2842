output "storage_account_id" {
  description = "The artifact account."
  value       = azurerm_storage_account.artifacts.id
}

output "artifacts_destination" {
  description = "The chart's mlflow.artifactsDestination."
  value       = "wasbs://${azurerm_storage_container.mlflow.name}@${azurerm_storage_account.artifacts.name}.blob.core.windows.net"
}

output "redis_host" {
  description = "Where Redis answers, for Ray's head and the cache."
  value       = azurerm_redis_cache.ray.hostname
}

output "redis_port" {
  description = "Its TLS port."
  value       = 6380
}

output "redis_ca_certificate" {
  description = "Empty: a public authority signs it."
  value       = ""
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

output "kafka" {
  description = "How streams reach Kafka and log in; an empty list without it."
  value = [for namespace in azurerm_eventhub_namespace.this : {
    brokers   = ["${namespace.name}.servicebus.windows.net:9093"]
    port      = 9093
    mechanism = "PLAIN"
    username  = "$ConnectionString"
  }]
}
