output "name_servers" {
  description = "For the parent zone."
  value       = aws_route53_zone.this.name_servers
}
