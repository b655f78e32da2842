terraform {
  required_version = "~> 1.11"
  # Settings of the bucket: terraform init -backend-config=environments/production.tfbackend
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.60"
    }
    random = {
      source  = "hashicorp/random"
      version = "~> 3.7"
    }
    vault = {
      source  = "hashicorp/vault"
      version = "~> 5.10"
    }
  }
}

provider "aws" {
  region = var.region
  default_tags {
    tags = { app = "sentigraph", environment = var.environment }
  }
}

# Credentials from the environment: VAULT_TOKEN.
provider "vault" {
  address = var.vault_address
}
