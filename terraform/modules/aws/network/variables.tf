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

variable "zone_count" {
  description = "Availability zones to spread over."
  type        = number
  validation {
    condition     = var.zone_count >= 2 && var.zone_count <= 4
    error_message = "2 to 4: databases and EKS need two."
  }
}

variable "nat_per_zone" {
  description = "A NAT gateway in each zone, so that the loss of a zone cuts off no other; else one."
  type        = bool
}

variable "kms_key_arn" {
  description = "Key that encrypts the flow log."
  type        = string
  validation {
    condition     = startswith(var.kms_key_arn, "arn:")
    error_message = "An ARN."
  }
}
