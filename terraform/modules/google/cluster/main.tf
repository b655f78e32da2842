# A regional, private GKE cluster with one node pool for each pool.
resource "google_service_account" "node" {
  account_id   = "${var.name}-node"
  display_name = "Nodes of ${var.name}"
}

resource "google_project_iam_member" "node" {
  for_each = toset(["logging.logWriter", "monitoring.metricWriter", "artifactregistry.reader"])
  project  = var.project
  role     = "roles/${each.key}"
  member   = "serviceAccount:${google_service_account.node.email}"
}

resource "google_container_cluster" "this" {
  #checkov:skip=CKV_GCP_12:The advanced datapath enforces network policies by itself.
  #checkov:skip=CKV_GCP_65:Groups for RBAC need a Google Workspace domain, which not everybody has.
  #checkov:skip=CKV_GCP_66:Binary authorization needs attestors of the image's builder: see the guide.
  name                        = var.name
  location                    = var.region
  network                     = var.network_id
  subnetwork                  = var.subnet_id
  min_master_version          = var.kubernetes_version
  remove_default_node_pool    = true
  initial_node_count          = 1
  deletion_protection         = var.deletion_protection
  datapath_provider           = "ADVANCED_DATAPATH"
  enable_intranode_visibility = true
  enable_shielded_nodes       = true
  resource_labels             = { app = "sentigraph" }

  node_config {
    service_account = google_service_account.node.email
    shielded_instance_config {
      enable_secure_boot          = true
      enable_integrity_monitoring = true
    }
    workload_metadata_config {
      mode = "GKE_METADATA"
    }
  }

  ip_allocation_policy {
    cluster_secondary_range_name  = "pods"
    services_secondary_range_name = "services"
  }

  private_cluster_config {
    enable_private_nodes    = true
    enable_private_endpoint = length(var.api_cidrs) == 0
  }

  master_authorized_networks_config {
    dynamic "cidr_blocks" {
      for_each = var.api_cidrs
      content {
        cidr_block = cidr_blocks.value
      }
    }
  }

  master_auth {
    client_certificate_config {
      issue_client_certificate = false
    }
  }

  workload_identity_config {
    workload_pool = "${var.project}.svc.id.goog"
  }

  database_encryption {
    state    = "ENCRYPTED"
    key_name = var.kms_key_id
  }

  release_channel {
    channel = "REGULAR"
  }
}

resource "google_container_node_pool" "this" {
  for_each       = var.pools
  name           = each.key
  cluster        = google_container_cluster.this.id
  node_locations = var.zones

  autoscaling {
    total_min_node_count = each.value.min
    total_max_node_count = each.value.max
  }

  management {
    auto_repair  = true
    auto_upgrade = true
  }

  node_config {
    machine_type    = each.value.machine
    disk_size_gb    = each.value.disk_gb
    disk_type       = "pd-balanced"
    image_type      = "COS_CONTAINERD"
    service_account = google_service_account.node.email
    oauth_scopes    = ["https://www.googleapis.com/auth/cloud-platform"]
    spot            = each.value.spot
    labels          = { "sentigraph/pool" = each.key }

    dynamic "guest_accelerator" {
      for_each = each.value.gpus > 0 ? [each.value] : []
      content {
        type  = guest_accelerator.value.accelerator
        count = guest_accelerator.value.gpus
        gpu_driver_installation_config {
          gpu_driver_version = "DEFAULT"
        }
      }
    }

    dynamic "taint" {
      for_each = concat(
        each.value.gpus > 0 ? ["nvidia.com/gpu"] : [], each.value.spot ? ["sentigraph/spot"] : []
      )
      content {
        key    = taint.value
        value  = "true"
        effect = "NO_SCHEDULE"
      }
    }

    shielded_instance_config {
      enable_secure_boot          = true
      enable_integrity_monitoring = true
    }
    workload_metadata_config {
      mode = "GKE_METADATA"
    }
  }
}

# The MLflow pods write artifacts as this account; no key is stored anywhere.
resource "google_service_account" "workload" {
  account_id   = "${var.name}-mlflow"
  display_name = "MLflow of ${var.name}"
}

resource "google_storage_bucket_iam_member" "mlflow" {
  bucket = var.bucket
  role   = "roles/storage.objectUser"
  member = "serviceAccount:${google_service_account.workload.email}"
}

resource "google_service_account_iam_member" "mlflow" {
  service_account_id = google_service_account.workload.name
  role               = "roles/iam.workloadIdentityUser"
  member             = "serviceAccount:${var.project}.svc.id.goog[${var.namespace}/sentigraph-mlflow]"
  depends_on         = [google_container_cluster.this]
}
