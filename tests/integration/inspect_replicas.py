"""Run by tests in the cluster's environment: prints facts of every Serve replica as JSON.

``python inspect_replicas.py ADDRESS``. A process of its own, because Ray in the test
process would stay connected and bring its warnings.
"""

import json
import os
import resource
import sys

import ray
from ray.util.state import list_actors


def facts(_: object) -> dict[str, object]:
    """Executed inside a replica."""
    return {
        "pid": os.getpid(),
        "modules": sorted({name.partition(".")[0] for name in sys.modules}),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1_024,
        "gpu_ids": ray.get_gpu_ids(),
    }


def main() -> None:
    """Prints ``{"replicas": {name: [facts]}, "gpus_free": number}``."""
    ray.init(address=sys.argv[1], namespace="serve", logging_level="error", log_to_driver=False)
    replicas: dict[str, list[object]] = {}
    for actor in list_actors(sys.argv[1], filters=[("state", "=", "ALIVE")], limit=1_000):
        parts = (actor.name or "").split("#")
        if parts[0] == "SERVE_REPLICA::sentigraph":
            handle = ray.get_actor(actor.name, namespace="serve")
            replicas.setdefault(parts[1], []).append(ray.get(handle.__ray_call__.remote(facts)))
    free = ray.available_resources().get("GPU", 0.0)
    print(json.dumps({"replicas": replicas, "gpus_free": free}))


if __name__ == "__main__":
    main()
