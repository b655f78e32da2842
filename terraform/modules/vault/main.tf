# Where the chart's ExternalSecret reads, who may read it, and what is there.
resource "vault_mount" "kv" {
  count       = var.create_mount ? 1 : 0
  path        = var.mount
  type        = "kv"
  options     = { version = "2" }
  description = "Secrets of sentigraph"
}

resource "vault_kv_secret_v2" "this" {
  mount               = var.mount
  name                = local.path
  delete_all_versions = false
  data_json           = jsonencode({ for name, value in var.secrets : name => value if value != "" })
  depends_on          = [vault_mount.kv]
}

locals {
  path = "${var.environment}/sentigraph"
}

# One entry, to read. Nothing else of the mount.
resource "vault_policy" "read" {
  name   = "sentigraph-${var.environment}"
  policy = <<-EOT
    path "${var.mount}/data/${local.path}" {
      capabilities = ["read"]
    }
    path "${var.mount}/metadata/${local.path}" {
      capabilities = ["read"]
    }
  EOT
}

# Rotation writes new versions and can neither list nor destroy.
resource "vault_policy" "rotate" {
  name   = "sentigraph-${var.environment}-rotate"
  policy = <<-EOT
    path "${var.mount}/data/${local.path}" {
      capabilities = ["read", "create", "update", "patch"]
    }
  EOT
}

resource "vault_auth_backend" "kubernetes" {
  type = "kubernetes"
  path = "kubernetes-${var.environment}"
}

resource "vault_kubernetes_auth_backend_config" "this" {
  backend                = vault_auth_backend.kubernetes.path
  kubernetes_host        = var.kubernetes_host
  kubernetes_ca_cert     = var.kubernetes_ca_certificate
  disable_iss_validation = true
}

resource "vault_kubernetes_auth_backend_role" "this" {
  backend                          = vault_auth_backend.kubernetes.path
  role_name                        = "sentigraph-${var.environment}"
  bound_service_account_names      = ["sentigraph-worker"]
  bound_service_account_namespaces = [var.namespace]
  token_policies                   = [vault_policy.read.name]
  token_ttl                        = 1200
  token_max_ttl                    = 3600
}
