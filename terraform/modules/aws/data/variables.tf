variable "name" {
  description = "Prefix of every name."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,30}$", var.name))
    error_message = "3 to 31 lower-case letters, digits or hyphens, a letter first."
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

variable "vpc_id" {
  description = "The VPC."
  type        = string
  validation {
    condition     = length(var.vpc_id) > 0
    error_message = "Must not be empty."
  }
}

variable "subnet_ids" {
  description = "Private subnets, in at least two zones."
  type        = list(string)
  validation {
    condition     = length(var.subnet_ids) >= 2
    error_message = "At least two."
  }
}

variable "node_security_group_id" {
  description = "Group of the nodes, which alone may connect."
  type        = string
  validation {
    condition     = length(var.node_security_group_id) > 0
    error_message = "Must not be empty."
  }
}

variable "kms_key_arn" {
  description = "Key that encrypts everything here."
  type        = string
  validation {
    condition     = startswith(var.kms_key_arn, "arn:")
    error_message = "An ARN."
  }
}

variable "database_password" {
  description = "Of the database user mlflow."
  type        = string
  sensitive   = true
  validation {
    condition     = length(var.database_password) >= 24
    error_message = "At least 24 characters."
  }
}

variable "redis_password" {
  description = "Of the head's Redis, where the cloud lets us choose it."
  type        = string
  sensitive   = true
  validation {
    condition     = length(var.redis_password) >= 24
    error_message = "At least 24 characters."
  }
}

variable "kafka_password" {
  description = "Of the Kafka user that streams log in as."
  type        = string
  sensitive   = true
  validation {
    condition     = length(var.kafka_password) >= 12
    error_message = "At least 12 characters."
  }
}
