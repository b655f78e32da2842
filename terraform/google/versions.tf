terraform {
  required_version = "~> 1.11"
  # Settings of the bucket: terraform init -backend-config=environments/production.tfbackend
  backend "gcs" {}
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 8.0"
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

provider "google" {
  project = var.project
  region  = var.region
  default_labels = {
    app         = "sentigraph"
    environment = var.environment
  }
}

# Credentials from the environment: VAULT_TOKEN.
provider "vault" {
  address = var.vault_address
}
