output "name_servers" {
  description = "For the parent zone."
  value       = google_dns_managed_zone.this.name_servers
}
