output "endpoint" {
  description = "Address of the API server."
  value       = aws_eks_cluster.this.endpoint
}

output "ca_certificate" {
  description = "Its certificate authority, PEM."
  value       = base64decode(one(aws_eks_cluster.this.certificate_authority[*].data))
}

output "security_group_id" {
  description = "Group that all nodes are in."
  value       = one(aws_eks_cluster.this.vpc_config[*].cluster_security_group_id)
}

output "service_account" {
  description = "The chart's serviceAccount: EKS pod identity needs neither annotation nor label."
  value       = { annotations = {}, podLabels = {} }
}
