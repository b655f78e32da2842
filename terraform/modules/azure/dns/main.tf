# The environment's zone. cert-manager proves ownership in it, as an identity of its own.
resource "azurerm_dns_zone" "this" {
  name                = var.domain
  resource_group_name = var.resource_group
}

resource "azurerm_user_assigned_identity" "cert_manager" {
  name                = "${var.name}-cert-manager"
  location            = var.location
  resource_group_name = var.resource_group
}

resource "azurerm_role_assignment" "cert_manager" {
  scope                = azurerm_dns_zone.this.id
  role_definition_name = "DNS Zone Contributor"
  principal_id         = azurerm_user_assigned_identity.cert_manager.principal_id
}

resource "azurerm_federated_identity_credential" "cert_manager" {
  name                      = "${var.name}-cert-manager"
  user_assigned_identity_id = azurerm_user_assigned_identity.cert_manager.id
  issuer                    = var.oidc_issuer_url
  audience                  = ["api://AzureADTokenExchange"]
  subject                   = "system:serviceaccount:cert-manager:cert-manager"
}
