"""Ray's dashboard, read only: what runs where, what its nodes have, what replicas logged last."""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.errors import StackError

_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Replica:
    """One replica of a deployment.

    Attributes:
        id: Ray Serve's.
        state: Its word: ``RUNNING``, ``STARTING``, ``STOPPING``, …
        node: Address of its node.
        node_id: Ray's.
        pid: 0 before it has a process.
        started_s: Unix time; 0 before that.
        log: Name of its log file.
    """

    id: str
    state: str
    node: str
    node_id: str
    pid: int
    started_s: float
    log: str


@dataclass(frozen=True, slots=True)
class Deployment:
    """One deployment.

    Attributes:
        name: Of the graph.
        status: ``HEALTHY``, ``UPDATING``, ``UNHEALTHY``, …
        message: Why, when it is not healthy.
        wanted: Replicas that it should have.
        replicas: Those that it has.
        died: Replicas that Ray Serve remembers as gone.
    """

    name: str
    status: str
    message: str
    wanted: int
    replicas: tuple[Replica, ...]
    died: int

    @property
    def running(self) -> int:
        """Replicas that take requests."""
        return sum(replica.state == "RUNNING" for replica in self.replicas)


@dataclass(frozen=True, slots=True)
class RunningApplication:
    """The application as Ray Serve sees it."""

    name: str
    status: str
    message: str
    deployments: tuple[Deployment, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """One node.

    Attributes:
        id: Ray's.
        address: Its own among the nodes.
        hostname: As the node says.
        is_head: Whether it leads.
        cores: Of the machine.
        load: Processes that want a core, mean of a minute.
        memory_ratio: Used share of its memory.
        metrics_port: Where Ray exports metrics.
    """

    id: str
    address: str
    hostname: str
    is_head: bool
    cores: int
    load: float
    memory_ratio: float
    metrics_port: int


class Cluster:
    """One cluster's dashboard.

    Args:
        url: ``http://host:port``.
        token: Ray's authentication token; empty when the cluster has none.
    """

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def application(self, name: str) -> RunningApplication | None:
        """What runs of it; None when Ray Serve does not know it.

        Raises:
            StackError: The dashboard does not answer, or refuses the token.
        """
        found = json.loads(self._get("/api/serve/applications/")).get("applications", {}).get(name)
        if found is None:
            return None
        deployments = tuple(_deployment(name, d) for name, d in found["deployments"].items())
        return RunningApplication(name, found["status"], found.get("message", ""), deployments)

    def nodes(self) -> tuple[Node, ...]:
        """All nodes that live.

        Raises:
            StackError: The dashboard does not answer, or refuses the token.
        """
        summary = json.loads(self._get("/nodes?view=summary"))["data"]["summary"]
        return tuple(_node(entry) for entry in summary if entry["raylet"].get("state") == "ALIVE")

    def log_tail(self, replica: Replica, lines: int) -> str:
        """The last lines of a replica's log; empty when its node has none, or does not answer."""
        asked = {"node_id": replica.node_id, "filename": replica.log.lstrip("/"), "lines": lines}
        try:
            return self._get(f"/api/v0/logs/file?{urllib.parse.urlencode(asked)}")
        except StackError:
            # The node, or its file, is gone meanwhile; a dashboard that is away shows elsewhere.
            return ""

    def _get(self, path: str) -> str:
        request = urllib.request.Request(f"{self.url}{path}", headers=self._headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:  # noqa: S310 # nosec B310
                return str(response.read().decode("utf-8", "replace"))
        except urllib.error.HTTPError as error:
            if error.code in (401, 403):
                raise StackError(
                    f"the Ray dashboard at {self.url} refuses the token: name its file with "
                    "--ray-token-file"
                ) from error
            raise StackError(f"the Ray dashboard at {self.url} answered {error.code}") from error
        except (OSError, ValueError) as error:
            raise StackError(f"no Ray dashboard answers at {self.url}") from error


def _deployment(name: str, found: Mapping[str, Any]) -> Deployment:
    replicas = tuple(
        Replica(
            id=replica["replica_id"],
            state=replica["state"],
            node=replica.get("node_ip") or "",
            node_id=replica.get("node_id") or "",
            pid=replica.get("pid") or 0,
            started_s=replica.get("start_time_s") or 0.0,
            log=replica.get("log_file_path") or "",
        )
        for replica in found["replicas"]
    )
    return Deployment(
        name=name,
        status=found["status"],
        message=found.get("message", ""),
        wanted=found.get("target_num_replicas", 1),
        replicas=replicas,
        died=len(found.get("recent_dead_replicas", ())),
    )


def _node(entry: Mapping[str, Any]) -> Node:
    raylet = entry["raylet"]
    used = entry.get("mem") or (1, 1, 0.0)
    return Node(
        id=raylet["nodeId"],
        address=raylet["nodeManagerAddress"],
        hostname=raylet.get("nodeManagerHostname") or entry.get("hostname", ""),
        is_head=bool(raylet.get("isHeadNode")),
        cores=int((entry.get("cpus") or (0,))[0]),
        load=float((entry.get("loadAvg") or ((0.0,),))[0][0]),
        memory_ratio=float(used[2]) / 100,
        metrics_port=int(raylet.get("metricsExportPort") or 0),
    )
