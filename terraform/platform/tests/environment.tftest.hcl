mock_provider "kubernetes" {}
mock_provider "helm" {}

variables {
  environment   = "production"
  kubeconfig    = "~/.kube/config"
  context       = "production"
  device_plugin = true
}

run "operators_before_the_chart" {
  assert {
    condition     = output.operator_versions["kuberay-operator"] == "1.7.0"
    error_message = "The chart is checked against KubeRay 1.7's schemas."
  }
  assert {
    condition     = output.namespace == "sentigraph-production"
    error_message = "The chart's namespace, as in kuberay/argocd."
  }
  assert {
    condition     = contains(keys(output.operator_versions), "nvidia-device-plugin")
    error_message = "Without the plugin no pod gets a card."
  }
}

run "google_brings_its_own_device_plugin" {
  variables {
    device_plugin = false
  }
  assert {
    condition     = !contains(keys(output.operator_versions), "nvidia-device-plugin")
    error_message = "Two plugins would fight for the cards."
  }
}

run "unnamed_cluster" {
  command = plan
  variables {
    context = ""
  }
  expect_failures = [var.context]
}
