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

variable "domain" {
  description = "DNS name of the environment; its parent must delegate to the name servers that come out."
  type        = string
  validation {
    condition     = can(regex("^([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+[a-z]{2,}$", var.domain))
    error_message = "A domain name in lower case."
  }
}

variable "oidc_issuer_url" {
  description = "Issuer of the cluster's service account tokens."
  type        = string
  validation {
    condition     = length(var.oidc_issuer_url) > 0
    error_message = "Must not be empty."
  }
}
