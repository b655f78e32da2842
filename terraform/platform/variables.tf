variable "environment" {
  description = "development, staging or production."
  type        = string
  validation {
    condition     = contains(["development", "staging", "production"], var.environment)
    error_message = "development, staging or production."
  }
}

variable "kubeconfig" {
  description = "File with the cluster's credentials."
  type        = string
  validation {
    condition     = length(var.kubeconfig) > 0
    error_message = "Must not be empty."
  }
}

variable "context" {
  description = "Context in the file: name it, so that no other cluster is changed by accident."
  type        = string
  validation {
    condition     = length(var.context) > 0
    error_message = "Must not be empty."
  }
}

variable "device_plugin" {
  description = "Install NVIDIA's device plugin: true on AWS and Azure, false on Google."
  type        = bool
}
