# What the chart needs in the cluster before it: operators, and the namespace they work in.
locals {
  operators = merge(
    {
      kuberay-operator = {
        namespace  = "kuberay-system"
        repository = "https://ray-project.github.io/kuberay-helm"
        version    = "1.7.0"
        values     = { watchNamespace = [local.namespace], singleNamespaceInstall = false }
      }
      external-secrets = {
        namespace  = "external-secrets"
        repository = "https://charts.external-secrets.io"
        version    = "2.0.0"
        values     = { installCRDs = true }
      }
      cert-manager = {
        namespace  = "cert-manager"
        repository = "https://charts.jetstack.io"
        version    = "v1.19.0"
        values     = { crds = { enabled = true } }
      }
    },
    # Google's nodes bring their own.
    var.device_plugin ? {
      nvidia-device-plugin = {
        namespace  = "nvidia"
        repository = "https://nvidia.github.io/k8s-device-plugin"
        version    = "0.18.0"
        values = {
          nodeSelector = {}
          tolerations  = [{ key = "nvidia.com/gpu", operator = "Exists", effect = "NoSchedule" }, { key = "sentigraph/spot", operator = "Exists", effect = "NoSchedule" }]
        }
      }
    } : {},
  )
  namespace = "sentigraph-${var.environment}"
}

resource "kubernetes_namespace_v1" "sentigraph" {
  metadata {
    name   = local.namespace
    labels = { "pod-security.kubernetes.io/enforce" = "restricted" }
  }
}

resource "helm_release" "operator" {
  for_each         = local.operators
  name             = each.key
  chart            = each.key
  repository       = each.value.repository
  version          = each.value.version
  namespace        = each.value.namespace
  create_namespace = true
  atomic           = true
  timeout          = 600
  values           = [jsonencode(each.value.values)]
  depends_on       = [kubernetes_namespace_v1.sentigraph]
}
