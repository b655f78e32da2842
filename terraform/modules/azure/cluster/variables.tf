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

variable "namespace" {
  description = "Kubernetes namespace of the release."
  type        = string
  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", var.namespace))
    error_message = "A DNS label."
  }
}

variable "system_machine" {
  description = "Machine of the pool for Kubernetes' own pods."
  type        = string
  validation {
    condition     = startswith(var.system_machine, "Standard_")
    error_message = "An Azure machine, Standard_…"
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

variable "storage_account_id" {
  description = "Storage account of MLflow's artifacts."
  type        = string
  validation {
    condition     = length(var.storage_account_id) > 0
    error_message = "Must not be empty."
  }
}
