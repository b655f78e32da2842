# AKS with Cilium's network policies and workload identity; the system pool runs no pod of ours.
resource "azurerm_user_assigned_identity" "cluster" {
  name                = "${var.name}-cluster"
  location            = var.location
  resource_group_name = var.resource_group
}

resource "azurerm_role_assignment" "cluster" {
  scope                = var.subnet_id
  role_definition_name = "Network Contributor"
  principal_id         = azurerm_user_assigned_identity.cluster.principal_id
}

resource "azurerm_log_analytics_workspace" "this" {
  name                = var.name
  location            = var.location
  resource_group_name = var.resource_group
  retention_in_days   = 90
}

resource "azurerm_kubernetes_cluster" "this" {
  #checkov:skip=CKV_AZURE_117:Disks are encrypted with the platform's keys; a set of our own needs a vault of keys.
  #checkov:skip=CKV_AZURE_227:Encryption at host must be enabled for the subscription first: see the guide.
  #checkov:skip=CKV_AZURE_226:Ephemeral disks do not fit every machine of the system pool.
  #checkov:skip=CKV_AZURE_115:Private where api_cidrs is empty.
  #checkov:skip=CKV_AZURE_6:Restricted to api_cidrs, which never hold the whole internet.
  name                              = var.name
  location                          = var.location
  resource_group_name               = var.resource_group
  dns_prefix                        = var.name
  kubernetes_version                = var.kubernetes_version
  sku_tier                          = "Standard"
  automatic_upgrade_channel         = "patch"
  local_account_disabled            = true
  oidc_issuer_enabled               = true
  workload_identity_enabled         = true
  azure_policy_enabled              = true
  role_based_access_control_enabled = true
  private_cluster_enabled           = length(var.api_cidrs) == 0

  dynamic "api_server_access_profile" {
    for_each = length(var.api_cidrs) > 0 ? [1] : []
    content {
      authorized_ip_ranges = var.api_cidrs
    }
  }

  default_node_pool {
    name                         = "system"
    vm_size                      = var.system_machine
    vnet_subnet_id               = var.subnet_id
    node_count                   = 2
    max_pods                     = 60
    only_critical_addons_enabled = true
  }

  node_provisioning_profile {
    mode = "Manual"
  }

  azure_active_directory_role_based_access_control {
    azure_rbac_enabled = true
  }

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.cluster.id]
  }

  network_profile {
    network_plugin      = "azure"
    network_plugin_mode = "overlay"
    network_policy      = "cilium"
    network_data_plane  = "cilium"
    outbound_type       = "userAssignedNATGateway"
  }

  key_vault_secrets_provider {
    secret_rotation_enabled = true
  }

  oms_agent {
    log_analytics_workspace_id = azurerm_log_analytics_workspace.this.id
  }

  depends_on = [azurerm_role_assignment.cluster]
}

resource "azurerm_kubernetes_cluster_node_pool" "this" {
  #checkov:skip=CKV_AZURE_227:Encryption at host must be enabled for the subscription first: see the guide.
  for_each = var.pools
  # Letters and digits only, twelve of them.
  name                  = replace(each.key, "-", "")
  kubernetes_cluster_id = azurerm_kubernetes_cluster.this.id
  vm_size               = each.value.machine
  vnet_subnet_id        = var.subnet_id
  auto_scaling_enabled  = true
  min_count             = each.value.min
  max_count             = each.value.max
  max_pods              = 60
  os_disk_size_gb       = each.value.disk_gb
  priority              = each.value.spot ? "Spot" : "Regular"
  eviction_policy       = each.value.spot ? "Delete" : null
  node_labels           = { "sentigraph/pool" = each.key }
  node_taints = concat(
    each.value.gpus > 0 ? ["nvidia.com/gpu=true:NoSchedule"] : [],
    # Azure adds kubernetes.azure.com/scalesetpriority by itself; naming it keeps plans quiet.
    each.value.spot ? [
      "sentigraph/spot=true:NoSchedule", "kubernetes.azure.com/scalesetpriority=spot:NoSchedule"
    ] : [],
  )
}

# The MLflow pods write artifacts as this identity; no key is stored anywhere.
resource "azurerm_user_assigned_identity" "mlflow" {
  name                = "${var.name}-mlflow"
  location            = var.location
  resource_group_name = var.resource_group
}

resource "azurerm_federated_identity_credential" "mlflow" {
  name                      = "${var.name}-mlflow"
  user_assigned_identity_id = azurerm_user_assigned_identity.mlflow.id
  issuer                    = azurerm_kubernetes_cluster.this.oidc_issuer_url
  audience                  = ["api://AzureADTokenExchange"]
  subject                   = "system:serviceaccount:${var.namespace}:sentigraph-mlflow"
}

resource "azurerm_role_assignment" "mlflow" {
  scope                = var.storage_account_id
  role_definition_name = "Storage Blob Data Contributor"
  principal_id         = azurerm_user_assigned_identity.mlflow.principal_id
}
