output "settings" {
  description = "The chart's secrets.vault, without the server."
  value = {
    mount     = var.mount
    path      = local.path
    authMount = vault_auth_backend.kubernetes.path
    role      = vault_kubernetes_auth_backend_role.this.role_name
  }
}
