output "network_id" {
  description = "The network; known once the peering for databases is there."
  value       = google_service_networking_connection.this.network
}

output "subnet_id" {
  description = "Subnet of the nodes."
  value       = google_compute_subnetwork.nodes.id
}
