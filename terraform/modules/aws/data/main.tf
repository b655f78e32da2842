# What keeps state: artifacts, MLflow's database, the head's Redis, Kafka.
resource "aws_s3_bucket" "artifacts" {
  #checkov:skip=CKV_AWS_144:Bundles are also in each node's cache and can be trained again; one region is enough.
  #checkov:skip=CKV2_AWS_62:Nothing listens to events of this bucket.
  #checkov:skip=CKV_AWS_18:CloudTrail data events log the access; a second bucket would need the same.
  bucket        = "${var.name}-mlflow"
  force_destroy = !var.deletion_protection
}

resource "aws_s3_bucket_public_access_block" "artifacts" {
  bucket                  = aws_s3_bucket.artifacts.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_versioning" "artifacts" {
  bucket = aws_s3_bucket.artifacts.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "artifacts" {
  bucket = aws_s3_bucket.artifacts.id
  rule {
    bucket_key_enabled = true
    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = var.kms_key_arn
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "artifacts" {
  bucket = aws_s3_bucket.artifacts.id
  rule {
    id     = "old-versions"
    status = "Enabled"
    filter {}
    noncurrent_version_expiration {
      noncurrent_days = 90
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }
}

resource "aws_security_group" "data" {
  name        = "${var.name}-data"
  description = "From the nodes to database, Redis and Kafka"
  vpc_id      = var.vpc_id

  dynamic "ingress" {
    for_each = { PostgreSQL = 5432, Redis = 6379, Kafka = 9096 }
    content {
      description     = ingress.key
      protocol        = "tcp"
      from_port       = ingress.value
      to_port         = ingress.value
      security_groups = [var.node_security_group_id]
    }
  }
}

resource "aws_db_subnet_group" "this" {
  name       = var.name
  subnet_ids = var.subnet_ids
}

resource "aws_iam_role" "monitoring" {
  name = "${var.name}-rds-monitoring"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "monitoring.rds.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy_attachment" "monitoring" {
  role       = aws_iam_role.monitoring.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"
}

resource "aws_db_parameter_group" "mlflow" {
  name   = "${var.name}-mlflow"
  family = "postgres17"
  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }
  parameter {
    name  = "log_statement"
    value = "ddl"
  }
  parameter {
    name  = "log_min_duration_statement"
    value = "1000"
  }
}

resource "aws_db_instance" "mlflow" {
  #checkov:skip=CKV_AWS_161:MLflow knows no IAM tokens; its password is random and lies in Vault.
  #checkov:skip=CKV_AWS_293:On wherever deletion_protection is, which staging and production set.
  #checkov:skip=CKV_AWS_157:On in production by the variable; elsewhere one zone is enough.
  identifier                      = "${var.name}-mlflow"
  engine                          = "postgres"
  engine_version                  = "17"
  instance_class                  = var.database_class
  allocated_storage               = var.database_gb
  max_allocated_storage           = var.database_gb * 4
  storage_type                    = "gp3"
  storage_encrypted               = true
  kms_key_id                      = var.kms_key_arn
  db_name                         = "mlflow"
  username                        = "mlflow"
  password                        = var.database_password
  parameter_group_name            = aws_db_parameter_group.mlflow.name
  db_subnet_group_name            = aws_db_subnet_group.this.name
  vpc_security_group_ids          = [aws_security_group.data.id]
  multi_az                        = var.highly_available
  backup_retention_period         = 14
  copy_tags_to_snapshot           = true
  auto_minor_version_upgrade      = true
  deletion_protection             = var.deletion_protection
  skip_final_snapshot             = !var.deletion_protection
  final_snapshot_identifier       = "${var.name}-mlflow-final"
  performance_insights_enabled    = true
  performance_insights_kms_key_id = var.kms_key_arn
  monitoring_interval             = 60
  monitoring_role_arn             = aws_iam_role.monitoring.arn
  enabled_cloudwatch_logs_exports = ["postgresql", "upgrade"]
}

resource "aws_elasticache_subnet_group" "this" {
  name       = var.name
  subnet_ids = var.subnet_ids
}

resource "aws_elasticache_replication_group" "ray" {
  #checkov:skip=CKV2_AWS_50:Two nodes with failover wherever highly_available is set.
  replication_group_id       = "${var.name}-ray"
  description                = "State of Ray's head"
  engine                     = "valkey"
  engine_version             = "8.0"
  node_type                  = var.redis_class
  num_cache_clusters         = var.highly_available ? 2 : 1
  automatic_failover_enabled = var.highly_available
  multi_az_enabled           = var.highly_available
  subnet_group_name          = aws_elasticache_subnet_group.this.name
  security_group_ids         = [aws_security_group.data.id]
  at_rest_encryption_enabled = "true"
  kms_key_id                 = var.kms_key_arn
  transit_encryption_enabled = true
  auth_token                 = var.redis_password
  snapshot_retention_limit   = 7
}

resource "aws_cloudwatch_log_group" "kafka" {
  name              = "/msk/${var.name}"
  retention_in_days = 365
  kms_key_id        = var.kms_key_arn
}

resource "aws_msk_cluster" "this" {
  count                  = var.kafka_class == "" ? 0 : 1
  cluster_name           = var.name
  kafka_version          = "3.9.x"
  number_of_broker_nodes = length(var.subnet_ids)

  broker_node_group_info {
    instance_type   = var.kafka_class
    client_subnets  = var.subnet_ids
    security_groups = [aws_security_group.data.id]
    storage_info {
      ebs_storage_info {
        volume_size = 100
      }
    }
  }

  encryption_info {
    encryption_at_rest_kms_key_arn = var.kms_key_arn
    encryption_in_transit {
      client_broker = "TLS"
      in_cluster    = true
    }
  }

  client_authentication {
    sasl {
      scram = true
    }
  }

  logging_info {
    broker_logs {
      cloudwatch_logs {
        enabled   = true
        log_group = aws_cloudwatch_log_group.kafka.name
      }
    }
  }
}

# The login of streams, by SCRAM; MSK asks for this prefix and a key of one's own.
locals {
  kafka_user = "sentigraph"
}

resource "aws_secretsmanager_secret" "kafka" {
  #checkov:skip=CKV2_AWS_57:The password is rotated where it is made, and Vault has it too.
  count      = length(aws_msk_cluster.this)
  name       = "AmazonMSK_${var.name}"
  kms_key_id = var.kms_key_arn
}

resource "aws_secretsmanager_secret_version" "kafka" {
  count         = length(aws_msk_cluster.this)
  secret_id     = aws_secretsmanager_secret.kafka[count.index].id
  secret_string = jsonencode({ username = local.kafka_user, password = var.kafka_password })
}

resource "aws_msk_scram_secret_association" "streams" {
  count           = length(aws_msk_cluster.this)
  cluster_arn     = aws_msk_cluster.this[count.index].arn
  secret_arn_list = [aws_secretsmanager_secret.kafka[count.index].arn]
  depends_on      = [aws_secretsmanager_secret_version.kafka]
}
