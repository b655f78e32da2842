output "name_servers" {
  description = "For the parent zone."
  value       = azurerm_dns_zone.this.name_servers
}
