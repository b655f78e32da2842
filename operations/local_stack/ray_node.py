"""How the local stack starts Ray: one head node, on ports and in folders of its own.

Ray Serve reads its settings from the environment of every process, once, so they are set
before Ray starts. HAProxy and throughput mode are switched on together: one alone is slower
than neither.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from operations.front.settings import FRONT, PROGRAM
from operations.local_stack import ray_head
from operations.local_stack.ports import PortBlock

_OBJECT_STORE_BYTES = 256 << 20
_MANY_CORES = 4


def serve_defaults(cores: float) -> dict[str, str]:
    """Settings that the user's environment may override."""
    return {
        **FRONT,
        "RAY_SERVE_HAPROXY_NBTHREAD": str(1 if cores <= _MANY_CORES else 4),
        # HAProxy's own metrics cost a Python datagram per request; the replicas count anyway.
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
        "RAY_SERVE_PROXY_MIN_DRAINING_PERIOD_S": "1",
        # Ray takes gRPC messages of 2 GB; this much is read before ours, `limits.max_body_bytes`.
        "RAY_SERVE_GRPC_MAX_MESSAGE_SIZE": str(16 << 20),
        # There is no second node that a replica could move to.
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        # Ray gives its workers the lowest priority; here the replicas are the work.
        "RAY_worker_niceness": "0",
        # Idle, the controller's loop and the dashboard's reporter take 8 % of a core at their
        # defaults of 0.1 s and 5 s; a replica's death is then seen 0.4 s later at most.
        "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",
        "REPORTER_UPDATE_INTERVAL_MS": "10000",
        # Every replica copies its counters to Ray: ten times a second by default.
        "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "2000",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    }


def serve_environment(ports: PortBlock, folder: Path) -> dict[str, str]:
    """Settings that make this stack work beside another one.

    Args:
        ports: Its ports.
        folder: Short path, for Ray's and HAProxy's files and sockets.
    """
    haproxy = folder / "haproxy"
    http, grpc = ports.http_replicas, ports.grpc_replicas
    return {
        # Uvicorn would take the client's address from a header of the client.
        "FORWARDED_ALLOW_IPS": "",
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(folder / "haproxy" / PROGRAM),
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(haproxy / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(haproxy / "admin.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(haproxy / "metrics.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(haproxy),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(haproxy / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(ports.single(1)),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(ports.single(2)),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(ports.single(3)),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(ports.single(4)),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(http[0]),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(http[1]),
        "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(grpc[0]),
        "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(grpc[1]),
        "AUTOSCALER_METRIC_PORT": str(ports.single(5)),
        "DASHBOARD_METRIC_PORT": str(ports.single(6)),
    }


def ray_command(
    ports: PortBlock, folder: Path, *, dashboard_port: int, num_gpus: int | None
) -> list[str]:
    """The command line of the head node, with a program around it that stays in the foreground."""
    options: Mapping[str, object] = {
        "port": ports.gcs,
        "ray-client-server-port": ports.single(10),
        "dashboard-agent-listen-port": ports.single(11),
        "dashboard-agent-grpc-port": ports.single(12),
        "metrics-export-port": ports.single(13),
        "node-manager-port": ports.single(14),
        "object-manager-port": ports.single(15),
        "runtime-env-agent-port": ports.single(16),
        # 0: any free port for each worker, instead of a range that two stacks would share.
        "min-worker-port": 0,
        "max-worker-port": 0,
        "dashboard-host": "127.0.0.1",
        "dashboard-port": dashboard_port,
        "object-store-memory": _OBJECT_STORE_BYTES,
        "include-log-monitor": "false",
        "log-style": "record",
        "temp-dir": folder,
    }
    watched = [sys.executable, "-I", "-S", str(Path(ray_head.__file__))]
    # There is no node that an autoscaler could add, so none watches.
    start = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--no-monitor"]
    command = [*watched, *start]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    if num_gpus is not None:
        command += ["--num-gpus", str(num_gpus)]
    return command
