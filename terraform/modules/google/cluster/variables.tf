variable "name" {
  description = "Prefix of every name."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,30}$", var.name))
    error_message = "3 to 31 lower-case letters, digits or hyphens, a letter first."
  }
}

variable "project" {
  description = "Google project id."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "A project id."
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

variable "kubernetes_version" {
  description = "Kubernetes minor version."
  type        = string
  validation {
    condition     = can(regex("^1\\.(29|3[0-9])$", var.kubernetes_version))
    error_message = "1.29 or newer: what the chart asks for."
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
    # Of Google alone: what the cards are called.
    accelerator = optional(string, "nvidia-l4")
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

variable "namespace" {
  description = "Kubernetes namespace of the release."
  type        = string
  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", var.namespace))
    error_message = "A DNS label."
  }
}

variable "zones" {
  description = "Zones of the nodes; GPUs are not in every zone of a region."
  type        = list(string)
  validation {
    condition     = length(var.zones) >= 2
    error_message = "At least two."
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
  description = "Subnet of the nodes."
  type        = string
  validation {
    condition     = length(var.subnet_id) > 0
    error_message = "Must not be empty."
  }
}

variable "kms_key_id" {
  description = "Key that encrypts the cluster's secrets."
  type        = string
  validation {
    condition     = length(var.kms_key_id) > 0
    error_message = "Must not be empty."
  }
}

variable "bucket" {
  description = "Bucket of MLflow's artifacts."
  type        = string
  validation {
    condition     = length(var.bucket) > 0
    error_message = "Must not be empty."
  }
}
