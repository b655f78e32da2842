"""Ray Serve through the REST interface of its cluster's dashboard: deploy, watch, drain.

Standard library only: importing Ray takes a second and could attach to a foreign cluster.
"""

import contextlib
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from operations.errors import StackError

_DEPLOY_TIMEOUT_S = 120.0
_READ_TIMEOUT_S = 10.0
# Everything here is on this machine: a proxy from the environment would be asked in vain.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class DeployProgress:
    """How far an application is.

    Attributes:
        status: Ray Serve's word: ``DEPLOYING``, ``RUNNING``, ``DEPLOY_FAILED``, …
        message: Why, when it failed.
        replicas: Deployment to (running, wanted) replicas.
        problems: Deployment to the last line of its message, where it has an unhappy one.
    """

    status: str
    message: str
    replicas: Mapping[str, tuple[int, int]]
    problems: Mapping[str, str]

    def __str__(self) -> str:
        return ", ".join(f"{n} {up}/{all_}" for n, (up, all_) in self.replicas.items())


class Dashboard:
    """One cluster's dashboard.

    Args:
        url: ``http://host:port``.
        token: Ray's authentication token; empty when the cluster has none.
    """

    def __init__(self, url: str, token: str) -> None:
        self._url = f"{url}/api/serve/applications/"
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def is_up(self) -> bool:
        """Whether it answers yet.

        Raises:
            StackError: It refuses the token.
        """
        try:
            self._call("GET", None, _READ_TIMEOUT_S)
        except OSError:
            return False
        return True

    def deploy(self, config: Mapping[str, object]) -> None:
        """Hands over the content of serve_config.yaml; returns before anything runs.

        Raises:
            StackError: Ray Serve refuses it.
        """
        try:
            self._call("PUT", json.dumps(config).encode(), _DEPLOY_TIMEOUT_S)
        except OSError as error:
            raise StackError(f"Ray Serve did not take the configuration: {error}") from error

    def drain(self, timeout_s: float) -> None:
        """Ends the applications once the requests that they work on are answered."""
        with contextlib.suppress(OSError, StackError):
            self._call("DELETE", None, timeout_s)

    def progress(self, application: str) -> DeployProgress | None:
        """How far it is; None when Ray Serve does not know it yet or does not answer."""
        try:
            details = self._call("GET", None, _READ_TIMEOUT_S)
        except OSError:
            return None
        found = details.get("applications", {}).get(application)
        if found is None:
            return None
        deployments = found.get("deployments", {})
        return DeployProgress(
            status=found["status"],
            message=found.get("message", ""),
            replicas={
                name: (
                    sum(replica["state"] == "RUNNING" for replica in entry["replicas"]),
                    entry.get("target_num_replicas", 1),
                )
                for name, entry in deployments.items()
            },
            problems={
                name: last_line(entry["message"])
                for name, entry in deployments.items()
                if entry.get("message") and "rror" in entry["message"]
            },
        )

    def _call(self, method: str, body: bytes | None, timeout_s: float) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310  (always http)
            self._url,
            data=body,
            method=method,
            headers={**self._headers, "Content-Type": "application/json"},
        )
        try:
            with _direct.open(request, timeout=timeout_s) as response:
                answer: dict[str, Any] = json.loads(response.read() or b"{}")
                return answer
        except urllib.error.HTTPError as error:
            text = error.read().decode("utf-8", "replace")
            if error.code in (401, 403):
                raise StackError(f"the Ray dashboard refuses our token: {text}") from error
            if error.code < 500:
                raise StackError(f"Ray Serve refuses the configuration: {text}") from error
            raise OSError(last_line(text)) from error


def answers(url: str, timeout_s: float = 2.0) -> bool:
    """Whether ``url`` answers 200."""
    try:
        with _direct.open(url, timeout=timeout_s) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def last_line(text: str) -> str:
    """The line of a remote traceback that says what happened."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"


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
