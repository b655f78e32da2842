terraform {
  required_version = "~> 1.11"
  # Settings of the bucket: terraform init -backend-config=environments/production.tfbackend
  backend "azurerm" {
    use_azuread_auth = true
  }
  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = "~> 5.0"
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

provider "azurerm" {
  features {}
  subscription_id = var.subscription_id
  # The artifact account knows no shared keys.
  storage_use_azuread = true
}

# Credentials from the environment: VAULT_TOKEN.
provider "vault" {
  address = var.vault_address
}
