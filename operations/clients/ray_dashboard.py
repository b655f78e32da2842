"""Ray Serve and its nodes through the REST interface of Ray's dashboard: deploy, watch, drain.

It does without Ray itself: importing that takes a second and could attach to a foreign cluster.
"""

import contextlib
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from operations.clients.http_client import open_client
from operations.errors import ServerAway, ServerRefused, StackError

_DEPLOY_TIMEOUT_S = 120.0
_AGAIN_S = (2.0, 5.0)
_READ_TIMEOUT_S = 10.0
_CONTROLLER_LINES = 1_000
_REPLICA_ID = re.compile(r"Replica\(id='(\w+)'")
_APPLICATIONS = "/api/serve/applications/"


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
        died: Replicas that Ray Serve remembers as gone after they crashed or failed their check.
        replaced: Those that it ended on purpose, for a new configuration or fewer replicas.
    """

    name: str
    status: str
    message: str
    wanted: int
    replicas: tuple[Replica, ...]
    died: int
    replaced: int = 0

    @property
    def running(self) -> int:
        """Replicas that take requests."""
        return sum(replica.state == "RUNNING" for replica in self.replicas)


@dataclass(frozen=True, slots=True)
class RunningApplication:
    """The application as Ray Serve sees it.

    Attributes:
        name: In Ray Serve.
        status: ``DEPLOYING``, ``RUNNING``, ``DEPLOY_FAILED``, …
        message: Why, when it failed.
        deployments: Those of the graph.
    """

    name: str
    status: str
    message: str
    deployments: tuple[Deployment, ...]

    def __str__(self) -> str:
        return ", ".join(f"{d.name} {d.running}/{d.wanted}" for d in self.deployments)

    @property
    def problems(self) -> list[str]:
        """Each deployment that reports an error, with the last line of its message."""
        return [
            f"{d.name}: {last_line(d.message)}" for d in self.deployments if "rror" in d.message
        ]


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


class RayDashboard:
    """One cluster's dashboard.

    Args:
        url: ``http://host:port``.
        token: Ray's authentication token; empty when the cluster has none.
    """

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = open_client(self.url, headers, _READ_TIMEOUT_S)

    def is_up(self) -> bool:
        """Whether it answers yet.

        Raises:
            ServerRefused: It refuses the token.
        """
        try:
            self._call("GET", _APPLICATIONS)
        except ServerAway:
            return False
        return True

    def deploy(self, config: Mapping[str, object]) -> None:
        """Hands over the content of serve_config.yaml; returns before anything runs.

        Tried again where Serve could not start: it replaces a proxy that a busy machine made late.

        Raises:
            StackError: Ray Serve refuses it.
        """
        for pause_s in (*_AGAIN_S, 0.0):
            try:
                self._call("PUT", _APPLICATIONS, config, _DEPLOY_TIMEOUT_S)
                return
            except ServerAway as error:
                away = error
            time.sleep(pause_s)
        raise StackError(f"Ray Serve did not take the configuration: {away}") from away

    def drain(self, timeout_s: float) -> None:
        """Ends the applications once the requests that they work on are answered."""
        with contextlib.suppress(StackError):
            self._call("DELETE", _APPLICATIONS, timeout_s=timeout_s)

    def application(self, name: str) -> RunningApplication | None:
        """What runs of it; None when Ray Serve does not know it.

        Raises:
            ServerAway: The dashboard does not answer.
            ServerRefused: It refuses the token.
        """
        serve = self._json(_APPLICATIONS)
        found = serve.get("applications", {}).get(name)
        if found is None:
            return None
        described = found.get("deployments", {})
        crashed: frozenset[str] = frozenset()
        if any(d.get("recent_dead_replicas") for d in described.values()):
            crashed = _crashed(self._controller_log(serve.get("controller_info") or {}))
        deployments = tuple(_deployment(n, d, crashed) for n, d in described.items())
        return RunningApplication(name, found["status"], found.get("message", ""), deployments)

    def nodes(self) -> tuple[Node, ...]:
        """All nodes that live.

        Raises:
            ServerAway: The dashboard does not answer.
            ServerRefused: It refuses the token.
        """
        summary = self._json("/nodes?view=summary")["data"]["summary"]
        return tuple(_node(entry) for entry in summary if entry["raylet"].get("state") == "ALIVE")

    def log_tail(self, replica: Replica, lines: int) -> str:
        """The last lines of a replica's log; empty when its node has none, or does not answer."""
        return self._log(replica.node_id, replica.log, lines)

    def _controller_log(self, controller: Mapping[str, Any]) -> str:
        path = controller.get("log_file_path")
        return self._log(controller.get("node_id") or "", path, _CONTROLLER_LINES) if path else ""

    def _log(self, node_id: str, file: str, lines: int) -> str:
        asked = httpx.QueryParams(node_id=node_id, filename=file.lstrip("/"), lines=lines)
        try:
            return self._call("GET", f"/api/v0/logs/file?{asked}")
        except StackError:
            # The node or its file is gone by now. A dashboard that is away is reported elsewhere.
            return ""

    def _json(self, path: str) -> Any:
        try:
            return json.loads(self._call("GET", path))
        except ValueError as error:
            raise ServerAway(f"no Ray dashboard answers at {self.url}") from error

    def _call(
        self, method: str, path: str, body: object = None, timeout_s: float = _READ_TIMEOUT_S
    ) -> str:
        try:
            answer = self._http.request(method, f"{self.url}{path}", json=body, timeout=timeout_s)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise ServerAway(f"no Ray dashboard answers at {self.url}") from error
        status = answer.status_code
        if status in (401, 403):
            said = f"the Ray dashboard at {self.url} refuses the token: {answer.text}"
            raise ServerRefused(said, status)
        if status >= 500:
            raise ServerAway(f"the Ray dashboard answered {status}: {last_line(answer.text)}")
        if not answer.is_success:
            refused = (
                "Ray Serve refuses the configuration"
                if method == "PUT"
                else f"{path} answered {status}"
            )
            raise ServerRefused(f"{refused}: {answer.text}", status)
        return answer.text


def last_line(text: str) -> str:
    """The line of a remote traceback that says what happened."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"


def _crashed(log: str) -> frozenset[str]:
    """Ids of the replicas that Serve's controller gave up, by its log."""
    lines = (line for line in log.splitlines() if "nhealthy" in line or "crashed" in line)
    return frozenset(found[1] for line in lines if (found := _REPLICA_ID.search(line)))


def _deployment(name: str, found: Mapping[str, Any], crashed: frozenset[str]) -> Deployment:
    gone = [replica.get("replica_id") for replica in found.get("recent_dead_replicas", ())]
    died = sum(replica in crashed for replica in gone)
    replicas = tuple(
        Replica(
            id=replica.get("replica_id") or "",
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
        status=found.get("status", ""),
        message=found.get("message") or "",
        wanted=found.get("target_num_replicas", 1),
        replicas=replicas,
        died=died,
        replaced=len(gone) - died,
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
