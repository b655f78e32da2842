# The environment's zone. cert-manager proves ownership in it, as a role of its own.
resource "aws_route53_zone" "this" {
  #checkov:skip=CKV2_AWS_38:DNSSEC needs the parent zone's owner to publish the key: see the guide.
  #checkov:skip=CKV2_AWS_39:Queries for a public name are not worth a log.
  name = var.domain
}

resource "aws_iam_role" "cert_manager" {
  name = "${var.name}-cert-manager"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = ["sts:AssumeRole", "sts:TagSession"]
      Principal = { Service = "pods.eks.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy" "cert_manager" {
  role = aws_iam_role.cert_manager.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = ["route53:ChangeResourceRecordSets", "route53:ListResourceRecordSets"]
      Resource = aws_route53_zone.this.arn
    }]
  })
}

resource "aws_eks_pod_identity_association" "cert_manager" {
  cluster_name    = var.name
  namespace       = "cert-manager"
  service_account = "cert-manager"
  role_arn        = aws_iam_role.cert_manager.arn
}
