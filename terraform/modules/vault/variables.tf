variable "environment" {
  description = "development, staging or production."
  type        = string
  validation {
    condition     = contains(["development", "staging", "production"], var.environment)
    error_message = "development, staging or production."
  }
}

variable "namespace" {
  description = "Kubernetes namespace of the release."
  type        = string
  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", var.namespace))
    error_message = "A DNS label."
  }
}

variable "mount" {
  description = "KV version 2 mount."
  type        = string
  validation {
    condition     = can(regex("^[a-z0-9-]+$", var.mount))
    error_message = "Lower-case letters, digits and hyphens."
  }
}

variable "create_mount" {
  description = "Make the mount; false where another environment does."
  type        = bool
}

variable "kubernetes_host" {
  description = "Address of the API server, which confirms service accounts."
  type        = string
  validation {
    condition     = length(var.kubernetes_host) > 0
    error_message = "Must not be empty."
  }
}

variable "kubernetes_ca_certificate" {
  description = "Its certificate authority, PEM."
  type        = string
  sensitive   = true
  validation {
    condition     = length(var.kubernetes_ca_certificate) > 0
    error_message = "Must not be empty."
  }
}

variable "secrets" {
  description = "What the entry holds: the keys that the chart reads, with kuberay/environments/streams.yaml too. An empty one is left out."
  type = object({
    redis-password      = string
    mlflow-backend-uri  = string
    jobs-database       = string
    jobs-webhook-secret = string
    kafka-password      = string
    api-keys            = string
  })
  sensitive = true
  validation {
    condition     = alltrue([for uri in [var.secrets.mlflow-backend-uri, var.secrets.jobs-database] : startswith(uri, "postgresql+psycopg2://")])
    error_message = "mlflow-backend-uri and jobs-database must be postgresql+psycopg2:// addresses."
  }
  validation {
    condition     = length(var.secrets.jobs-webhook-secret) >= 16
    error_message = "jobs-webhook-secret must have at least 16 characters."
  }
}
