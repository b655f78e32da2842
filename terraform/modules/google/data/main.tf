# What keeps state: artifacts, MLflow's database, the head's Redis, Kafka.
resource "google_storage_bucket" "artifacts" {
  #checkov:skip=CKV_GCP_62:Data access audit logs tell who read; a log bucket would need the same.
  name                        = "${var.name}-mlflow"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = !var.deletion_protection

  versioning {
    enabled = true
  }

  encryption {
    default_kms_key_name = var.kms_key_id
  }

  lifecycle_rule {
    condition {
      days_since_noncurrent_time = 90
    }
    action {
      type = "Delete"
    }
  }
}

resource "google_sql_database_instance" "mlflow" {
  #checkov:skip=CKV_GCP_6:ssl_mode replaces the argument that the check looks for.
  #checkov:skip=CKV_GCP_51:Set below by a dynamic block, which checkov does not read.
  #checkov:skip=CKV_GCP_52:Set below by a dynamic block, which checkov does not read.
  #checkov:skip=CKV_GCP_53:Set below by a dynamic block, which checkov does not read.
  #checkov:skip=CKV_GCP_54:Set below by a dynamic block, which checkov does not read.
  #checkov:skip=CKV_GCP_108:Set below by a dynamic block, which checkov does not read.
  #checkov:skip=CKV_GCP_109:Set below by a dynamic block, which checkov does not read.
  #checkov:skip=CKV_GCP_110:Set below by a dynamic block, which checkov does not read.
  #checkov:skip=CKV_GCP_111:Set below by a dynamic block, which checkov does not read.
  #checkov:skip=CKV_GCP_79:17 is PostgreSQL's version that MLflow's own tests cover; 18 follows.
  #checkov:skip=CKV2_GCP_13:Durations of single statements are logged from one second on.
  name                = "${var.name}-mlflow"
  region              = var.region
  database_version    = "POSTGRES_17"
  deletion_protection = var.deletion_protection
  encryption_key_name = var.kms_key_id

  settings {
    tier                        = var.database_class
    edition                     = "ENTERPRISE"
    availability_type           = var.highly_available ? "REGIONAL" : "ZONAL"
    disk_size                   = var.database_gb
    disk_autoresize             = true
    deletion_protection_enabled = var.deletion_protection

    ip_configuration {
      ipv4_enabled    = false
      private_network = var.network_id
      ssl_mode        = "ENCRYPTED_ONLY"
    }

    backup_configuration {
      enabled                        = true
      point_in_time_recovery_enabled = true
    }

    dynamic "database_flags" {
      for_each = {
        "cloudsql.enable_pgaudit"    = "on"
        "log_checkpoints"            = "on"
        "log_connections"            = "on"
        "log_disconnections"         = "on"
        "log_duration"               = "on"
        "log_hostname"               = "on"
        "log_lock_waits"             = "on"
        "log_min_messages"           = "error"
        "log_min_error_statement"    = "error"
        "log_min_duration_statement" = "1000"
        "log_statement"              = "ddl"
      }
      content {
        name  = database_flags.key
        value = database_flags.value
      }
    }
  }
}

resource "google_sql_database" "mlflow" {
  name     = "mlflow"
  instance = google_sql_database_instance.mlflow.name
}

resource "google_sql_user" "mlflow" {
  name     = "mlflow"
  instance = google_sql_database_instance.mlflow.name
  password = var.database_password
}

resource "google_redis_instance" "ray" {
  name                    = "${var.name}-ray"
  region                  = var.region
  tier                    = var.highly_available ? "STANDARD_HA" : "BASIC"
  memory_size_gb          = var.redis_gb
  redis_version           = "REDIS_7_2"
  authorized_network      = var.network_id
  connect_mode            = "PRIVATE_SERVICE_ACCESS"
  auth_enabled            = true
  transit_encryption_mode = "SERVER_AUTHENTICATION"
  customer_managed_key    = var.kms_key_id
}

resource "google_managed_kafka_cluster" "this" {
  count      = var.kafka_vcpus == 0 ? 0 : 1
  cluster_id = var.name
  location   = var.region

  capacity_config {
    vcpu_count   = var.kafka_vcpus
    memory_bytes = var.kafka_vcpus * 4 * 1073741824
  }

  gcp_config {
    kms_key = var.kms_key_id
    access_config {
      network_configs {
        subnet = var.subnet_id
      }
    }
  }
}

# Streams log in as it by SASL PLAIN; the password is a key of it, base64, which you make.
resource "google_service_account" "streams" {
  account_id   = "${var.name}-streams"
  display_name = "Streams of ${var.name}"
}

resource "google_project_iam_member" "streams" {
  project = var.project
  role    = "roles/managedkafka.client"
  member  = "serviceAccount:${google_service_account.streams.email}"
}
