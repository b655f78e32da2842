output "chart_values" {
  description = "What the chart must know of this cloud: terraform output -json chart_values > cloud.json, then helm --values cloud.json."
  value = {
    gcsFaultTolerance = {
      enabled      = true
      redisAddress = module.data.redis_address
      redisCidrs   = [var.cidr]
    }
    mlflow = {
      artifactsDestination = module.data.artifacts_destination
      databaseCidrs        = [var.cidr]
      identity             = module.cluster.service_account
    }
    networkPolicy = {
      httpsCidrs = concat([var.cidr], var.service_cidrs)
    }
    secrets = {
      vault = merge(module.vault.settings, { enabled = true, server = var.vault_address })
    }
  }
}

output "cluster" {
  description = "For terraform/platform."
  value = {
    endpoint       = module.cluster.endpoint
    ca_certificate = module.cluster.ca_certificate
  }
  sensitive = true
}

output "kafka_brokers" {
  description = "Bootstrap servers; empty without Kafka."
  value       = module.data.kafka_brokers
}

output "name_servers" {
  description = "The parent zone must delegate to these."
  value       = module.dns.name_servers
}
