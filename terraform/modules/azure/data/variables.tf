variable "name" {
  description = "Prefix of every name."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,30}$", var.name))
    error_message = "3 to 31 lower-case letters, digits or hyphens, a letter first."
  }
}

variable "location" {
  description = "Azure region of everything."
  type        = string
  validation {
    condition     = can(regex("^[a-z0-9]+$", var.location))
    error_message = "A region such as westeurope."
  }
}

variable "resource_group" {
  description = "Resource group that everything is in."
  type        = string
  validation {
    condition     = length(var.resource_group) > 0
    error_message = "Must not be empty."
  }
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

variable "kafka_units" {
  description = "Throughput units of Event Hubs; 0 makes none."
  type        = number
  validation {
    condition     = var.kafka_units >= 0 && var.kafka_units <= 40
    error_message = "0 to 40."
  }
}

variable "network_id" {
  description = "The virtual network."
  type        = string
  validation {
    condition     = length(var.network_id) > 0
    error_message = "Must not be empty."
  }
}

variable "endpoint_subnet_id" {
  description = "Subnet of private endpoints."
  type        = string
  validation {
    condition     = length(var.endpoint_subnet_id) > 0
    error_message = "Must not be empty."
  }
}

variable "database_subnet_id" {
  description = "Subnet that PostgreSQL owns."
  type        = string
  validation {
    condition     = length(var.database_subnet_id) > 0
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
