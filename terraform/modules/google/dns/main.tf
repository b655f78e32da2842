# The environment's zone. cert-manager proves ownership in it, as an account of its own.
resource "google_dns_managed_zone" "this" {
  name       = var.name
  dns_name   = "${var.domain}."
  visibility = "public"

  dnssec_config {
    state = "on"
    default_key_specs {
      algorithm = "ecdsap256sha256"
      key_type  = "keySigning"
    }
    default_key_specs {
      algorithm = "ecdsap256sha256"
      key_type  = "zoneSigning"
    }
  }
}

resource "google_service_account" "cert_manager" {
  account_id   = "${var.name}-certs"
  display_name = "cert-manager of ${var.name}"
}

resource "google_dns_managed_zone_iam_member" "cert_manager" {
  managed_zone = google_dns_managed_zone.this.name
  role         = "roles/dns.admin"
  member       = "serviceAccount:${google_service_account.cert_manager.email}"
}

resource "google_service_account_iam_member" "cert_manager" {
  service_account_id = google_service_account.cert_manager.name
  role               = "roles/iam.workloadIdentityUser"
  member             = "serviceAccount:${var.project}.svc.id.goog[cert-manager/cert-manager]"
}
