"""The settings of Ray pods, read from rendered charts and from running pods."""

from pipelines.operations.manifests import environments

WORKER = {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"}


def pod(name: str, kind: str, **env: str) -> dict[str, object]:
    items = [{"name": key, "value": value} for key, value in env.items()]
    spec = {"containers": [{"name": "sidecar", "env": []}, {"name": kind, "env": items}]}
    return {"kind": "Pod", "metadata": {"name": name}, "spec": spec}


def test_environments_are_read_from_running_pods() -> None:
    pods = [
        pod("head-x", "ray-head", **WORKER, RAY_ADDRESS="127.0.0.1:6379", PATH="/bin"),
        pod("worker-y", "ray-worker", **WORKER, RAY_ADDRESS="10.0.0.7:6379", PATH="/usr/bin"),
        pod("mlflow", "mlflow", RAY_SERVE_ENABLE_HA_PROXY="0"),
    ]
    found = environments([{"kind": "List", "metadata": {}, "items": pods}])
    assert found == {"head-x": WORKER, "worker-y": WORKER}


def test_environments_are_read_from_a_rendered_chart() -> None:
    def template(kind: str) -> dict[str, object]:
        return {"template": {"spec": pod("", kind, **WORKER)["spec"]}}

    cluster = {
        "headGroupSpec": template("ray-head"),
        "workerGroupSpecs": [{"groupName": "gpu", **template("ray-worker")}],
    }
    service = {
        "kind": "RayService",
        "metadata": {"name": "sentigraph"},
        "spec": {"rayClusterConfig": cluster},
    }
    assert set(environments([None, service])) == {"sentigraph/head", "sentigraph/gpu"}
