output "network_id" {
  description = "The virtual network."
  value       = azurerm_virtual_network.this.id
}

output "node_subnet_id" {
  description = "Subnet of the nodes; known once their way out is there."
  value       = azurerm_subnet_nat_gateway_association.nodes.subnet_id
}

output "endpoint_subnet_id" {
  description = "Subnet of private endpoints."
  value       = azurerm_subnet.endpoints.id
}

output "database_subnet_id" {
  description = "Subnet that PostgreSQL owns."
  value       = azurerm_subnet.database.id
}
