output "chart_values" {
  description = "What the chart must know of this cloud: terraform output -json chart_values > cloud.json, then helm --values cloud.json."
  value = {
    gcsFaultTolerance = {
      enabled      = true
      redisAddress = "rediss://${module.data.redis_host}:${module.data.redis_port}"
      redisCidrs   = [var.cidr]
    }
    redis = {
      caCertificate = module.data.redis_ca_certificate
    }
    # The same Redis has the predictions that replicas share.
    serve = {
      application = {
        args = merge(
          { redis = { host = module.data.redis_host, port = module.data.redis_port, tls = true } },
          { for kafka in module.data.kafka : "stream" => {
            bootstrap_servers = kafka.brokers
            security_protocol = "SASL_SSL"
            sasl_mechanism    = kafka.mechanism
            username          = kafka.username
          } },
        )
      }
    }
    mlflow = {
      artifactsDestination = module.data.artifacts_destination
      databaseCidrs        = [var.cidr]
      identity             = module.cluster.service_account
    }
    networkPolicy = {
      httpsCidrs = concat([var.cidr], var.service_cidrs)
      reaches = merge(
        { redis = { cidrs = [var.cidr], ports = [module.data.redis_port] } },
        { jobsDatabase = { cidrs = [var.cidr], ports = [5432] } },
        { for kafka in module.data.kafka : "kafka" => { cidrs = [var.cidr], ports = [kafka.port] } },
      )
    }
    secrets = {
      settings = { MLOPS_REDIS__PASSWORD = "redis-password" }
      vault    = merge(module.vault.settings, { enabled = true, server = var.vault_address })
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

output "name_servers" {
  description = "The parent zone must delegate to these."
  value       = module.dns.name_servers
}
