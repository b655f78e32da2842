variable "environment" {
  description = "development, staging or production."
  type        = string
  validation {
    condition     = contains(["development", "staging", "production"], var.environment)
    error_message = "development, staging or production."
  }
}

variable "name" {
  description = "Prefix of every name."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,30}$", var.name))
    error_message = "3 to 31 lower-case letters, digits or hyphens, a letter first."
  }
}

variable "cidr" {
  description = "Address range of the network, a /16."
  type        = string
  validation {
    condition     = can(cidrhost(var.cidr, 0)) && endswith(var.cidr, "/16")
    error_message = "An IPv4 network with /16."
  }
}

variable "kubernetes_version" {
  description = "Kubernetes minor version."
  type        = string
  validation {
    condition     = can(regex("^1\\.(29|3[0-9])$", var.kubernetes_version))
    error_message = "1.29 or newer: what the chart asks for."
  }
}

variable "api_cidrs" {
  description = "Networks that may reach the API server from outside; none closes it."
  type        = list(string)
  validation {
    condition     = alltrue([for cidr in var.api_cidrs : can(cidrhost(cidr, 0)) && !endswith(cidr, "/0")])
    error_message = "IPv4 networks, and never the whole internet."
  }
}

variable "deletion_protection" {
  description = "Refuse to delete what holds data or runs it."
  type        = bool
}

variable "highly_available" {
  description = "A standby in a second zone for database and Redis."
  type        = bool
}

variable "database_class" {
  description = "Machine of the database, by the cloud's name."
  type        = string
  validation {
    condition     = length(var.database_class) > 2
    error_message = "A machine name of the cloud."
  }
}

variable "database_gb" {
  description = "Storage of the database in GB."
  type        = number
  validation {
    condition     = var.database_gb >= 20 && var.database_gb <= 16384
    error_message = "20 to 16384."
  }
}

variable "domain" {
  description = "DNS name of the environment; its parent must delegate to the name servers that come out."
  type        = string
  validation {
    condition     = can(regex("^([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+[a-z]{2,}$", var.domain))
    error_message = "A domain name in lower case."
  }
}

variable "vault_address" {
  description = "Address of Vault, https."
  type        = string
  validation {
    condition     = startswith(var.vault_address, "https://")
    error_message = "https://…"
  }
}

variable "vault_mount" {
  description = "KV version 2 mount."
  type        = string
  default     = "mlops-sentiment"
  validation {
    condition     = can(regex("^[a-z0-9-]+$", var.vault_mount))
    error_message = "Lower-case letters, digits and hyphens."
  }
}

variable "create_vault_mount" {
  description = "Whether this environment makes the mount; one of those that share it must."
  type        = bool
}


variable "region" {
  description = "Region of everything."
  type        = string
  validation {
    condition     = can(regex("^[a-z]+-?[a-z0-9]+", var.region))
    error_message = "A region of the cloud."
  }
}

variable "pools" {
  description = "Node pools by name; the name becomes the label sentigraph/pool that the chart selects."
  type = map(object({
    machine = string
    min     = number
    max     = number
    gpus    = optional(number, 0)
    spot    = optional(bool, false)
    disk_gb = optional(number, 100)
  }))
  validation {
    condition     = alltrue([for name in keys(var.pools) : can(regex("^[a-z][a-z0-9-]{0,10}$", name))])
    error_message = "Names of 1 to 11 lower-case letters, digits or hyphens."
  }
  validation {
    condition     = alltrue([for pool in values(var.pools) : 0 <= pool.min && pool.min <= pool.max])
    error_message = "0 <= min <= max."
  }
  validation {
    condition     = alltrue([for pool in values(var.pools) : pool.disk_gb >= 50])
    error_message = "disk_gb of at least 50: images with CUDA are large."
  }
  validation {
    condition     = anytrue([for pool in values(var.pools) : pool.gpus == 0 && !pool.spot && pool.min > 0])
    error_message = "One pool without GPUs and not spot must always have a node: the head lives there."
  }
}

variable "service_cidrs" {
  description = "Further networks where the API server and object storage answer by HTTPS."
  type        = list(string)
  default     = []
  validation {
    condition     = alltrue([for cidr in var.service_cidrs : can(cidrhost(cidr, 0)) && !endswith(cidr, "/0")])
    error_message = "IPv4 networks, and never the whole internet."
  }
}

variable "redis_class" {
  description = "Machine of Redis."
  type        = string
  validation {
    condition     = startswith(var.redis_class, "cache.")
    error_message = "An ElastiCache class, cache.…"
  }
}

variable "kafka_class" {
  description = "Machine of each Kafka broker; empty makes none."
  type        = string
  validation {
    condition     = var.kafka_class == "" || startswith(var.kafka_class, "kafka.")
    error_message = "An MSK class, kafka.…, or empty."
  }
}

variable "kafka_password" {
  description = "Of the Kafka user that streams log in as (on Event Hubs a connection string); empty without streams. Set TF_VAR_kafka_password."
  type        = string
  default     = ""
  sensitive   = true
  validation {
    condition     = var.kafka_password == "" || length(var.kafka_password) >= 12
    error_message = "At least 12 characters, or empty."
  }
}

variable "api_keys" {
  description = "Digests of API keys as a JSON list, which `sentigraph secrets new` prints; staging and production serve nobody without. Set TF_VAR_api_keys."
  type        = string
  default     = ""
  sensitive   = true
  validation {
    condition     = var.api_keys == "" || can([for key in jsondecode(var.api_keys) : [key.id, key.roles, regex("^[0-9a-f]{64}$", key.sha256)]])
    error_message = "A JSON list of objects with id, sha256 and roles, or empty."
  }
}
