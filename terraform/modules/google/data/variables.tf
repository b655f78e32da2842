variable "name" {
  description = "Prefix of every name."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,30}$", var.name))
    error_message = "3 to 31 lower-case letters, digits or hyphens, a letter first."
  }
}

variable "region" {
  description = "Region of everything."
  type        = string
  validation {
    condition     = can(regex("^[a-z]+-?[a-z0-9]+", var.region))
    error_message = "A region of the cloud."
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

variable "redis_gb" {
  description = "Memory of Redis in GB."
  type        = number
  validation {
    condition     = var.redis_gb >= 1 && var.redis_gb <= 300
    error_message = "1 to 300."
  }
}

variable "kafka_vcpus" {
  description = "Cores of the Kafka cluster; 0 makes none."
  type        = number
  validation {
    condition     = var.kafka_vcpus == 0 || var.kafka_vcpus >= 3
    error_message = "0, or 3 and more."
  }
}

variable "network_id" {
  description = "The network."
  type        = string
  validation {
    condition     = length(var.network_id) > 0
    error_message = "Must not be empty."
  }
}

variable "subnet_id" {
  description = "Subnet of the nodes, from which Kafka is reached."
  type        = string
  validation {
    condition     = length(var.subnet_id) > 0
    error_message = "Must not be empty."
  }
}

variable "kms_key_id" {
  description = "Key that encrypts everything here."
  type        = string
  validation {
    condition     = length(var.kms_key_id) > 0
    error_message = "Must not be empty."
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

variable "project" {
  description = "Whose Kafka streams may use."
  type        = string
  validation {
    condition     = length(var.project) > 0
    error_message = "Must not be empty."
  }
}
