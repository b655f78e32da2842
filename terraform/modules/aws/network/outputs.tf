output "vpc_id" {
  description = "The VPC."
  value       = aws_vpc.this.id
}

output "private_subnet_ids" {
  description = "Subnets for nodes and data, one in each zone."
  value       = aws_subnet.private[*].id
}

output "cidr" {
  description = "Address range of the network."
  value       = aws_vpc.this.cidr_block
}
