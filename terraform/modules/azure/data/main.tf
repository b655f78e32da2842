# What keeps state: artifacts, MLflow's database, the head's Redis, Kafka (Event Hubs).
resource "azurerm_storage_account" "artifacts" {
  #checkov:skip=CKV_AZURE_206:Bundles are also in each node's cache and can be trained again; one region is enough.
  #checkov:skip=CKV2_AZURE_1:The platform's keys encrypt it; own keys need a vault of keys.
  #checkov:skip=CKV_AZURE_33:There is no queue.
  #checkov:skip=CKV2_AZURE_21:Blob reads are logged through the account's diagnostic settings, if wanted.
  #checkov:skip=CKV2_AZURE_40:Shared keys are off by shared_access_key_enabled.
  #checkov:skip=CKV2_AZURE_41:Shared keys are off, so there are no signatures to expire.
  name                            = replace("${var.name}mlflow", "-", "")
  location                        = var.location
  resource_group_name             = var.resource_group
  account_tier                    = "Standard"
  account_replication_type        = var.highly_available ? "ZRS" : "LRS"
  min_tls_version                 = "TLS1_2"
  shared_access_key_enabled       = false
  public_network_access_enabled   = false
  allow_nested_items_to_be_public = false
  local_user_enabled              = false

  blob_properties {
    versioning_enabled = true
    delete_retention_policy {
      days = 90
    }
    container_delete_retention_policy {
      days = 30
    }
  }
}

resource "azurerm_storage_container" "mlflow" {
  #checkov:skip=CKV2_AZURE_21:Blob reads are logged through the account's diagnostic settings, if wanted.
  name                  = "mlflow"
  storage_account_id    = azurerm_storage_account.artifacts.id
  container_access_type = "private"
}

resource "azurerm_private_endpoint" "this" {
  for_each = merge(
    { blob = azurerm_storage_account.artifacts.id, redis = azurerm_redis_cache.ray.id },
    { for index, namespace in azurerm_eventhub_namespace.this : "kafka" => namespace.id },
  )
  name                = "${var.name}-${each.key}"
  location            = var.location
  resource_group_name = var.resource_group
  subnet_id           = var.endpoint_subnet_id

  private_service_connection {
    name                           = each.key
    private_connection_resource_id = each.value
    subresource_names              = [{ blob = "blob", redis = "redisCache", kafka = "namespace" }[each.key]]
    is_manual_connection           = false
  }

  private_dns_zone_group {
    name                 = each.key
    private_dns_zone_ids = [azurerm_private_dns_zone.this[each.key].id]
  }
}

resource "azurerm_private_dns_zone" "this" {
  for_each = {
    blob       = "privatelink.blob.core.windows.net"
    redis      = "privatelink.redis.cache.windows.net"
    kafka      = "privatelink.servicebus.windows.net"
    postgresql = "${var.name}.postgres.database.azure.com"
  }
  name                = each.value
  resource_group_name = var.resource_group
}

resource "azurerm_private_dns_zone_virtual_network_link" "this" {
  for_each            = azurerm_private_dns_zone.this
  name                = each.key
  private_dns_zone_id = each.value.id
  virtual_network_id  = var.network_id
}

resource "azurerm_postgresql_flexible_server" "mlflow" {
  #checkov:skip=CKV2_AZURE_57:It lives in a delegated subnet, where no endpoint is possible, and is closed to the public.
  #checkov:skip=CKV_AZURE_136:Geo-redundant backups double the price; artifacts are in one region too.
  name                          = "${var.name}-mlflow"
  location                      = var.location
  resource_group_name           = var.resource_group
  version                       = "17"
  sku_name                      = var.database_class
  storage_mb                    = var.database_gb * 1024
  administrator_login           = "mlflow"
  administrator_password        = var.database_password
  delegated_subnet_id           = var.database_subnet_id
  private_dns_zone_id           = azurerm_private_dns_zone.this["postgresql"].id
  public_network_access_enabled = false
  backup_retention_days         = 14

  dynamic "high_availability" {
    for_each = var.highly_available ? [1] : []
    content {
      mode = "ZoneRedundant"
    }
  }

  depends_on = [azurerm_private_dns_zone_virtual_network_link.this]
}

resource "azurerm_postgresql_flexible_server_configuration" "this" {
  for_each  = { require_secure_transport = "on", log_checkpoints = "on", log_min_duration_statement = "1000" }
  name      = each.key
  server_id = azurerm_postgresql_flexible_server.mlflow.id
  value     = each.value
}

resource "azurerm_postgresql_flexible_server_database" "mlflow" {
  name      = "mlflow"
  server_id = azurerm_postgresql_flexible_server.mlflow.id
}

resource "azurerm_redis_cache" "ray" {
  name                          = "${var.name}-ray"
  location                      = var.location
  resource_group_name           = var.resource_group
  sku_name                      = var.highly_available ? "Premium" : "Standard"
  family                        = var.highly_available ? "P" : "C"
  capacity                      = 1
  minimum_tls_version           = "1.2"
  non_ssl_port_enabled          = false
  public_network_access_enabled = false
}

resource "azurerm_eventhub_namespace" "this" {
  #checkov:skip=CKV_AZURE_237:Kafka's clients log in with a connection string here, which is a local authentication.
  count               = var.kafka_units == 0 ? 0 : 1
  name                = var.name
  location            = var.location
  resource_group_name = var.resource_group
  # The Basic tier does not speak Kafka.
  sku                           = "Standard"
  capacity                      = var.kafka_units
  minimum_tls_version           = "1.2"
  public_network_access_enabled = false
  local_authentication_enabled  = true
}
