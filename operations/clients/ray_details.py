"""What Ray's dashboard and the log of Ray Serve's controller say, as records. Pure."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

_REPLICA_ID = re.compile(r"Replica\(id='(\w+)'")
_REMOVED = re.compile(r"Removing (?P<n>\d+) replicas? from Deployment\(name='(?P<deployment>\w+)'")
_STOPPED = re.compile(r"Stopping Replica\(id='(?P<id>\w+)', deployment='(?P<deployment>\w+)'")
# The state of a replica whose process has ended, where Ray Serve still says RUNNING.
DEAD = "DEAD"


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
        actor: Ray's id of its process; empty before it has one.
    """

    id: str
    state: str
    node: str
    node_id: str
    pid: int
    started_s: float
    log: str
    actor: str = ""


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
        replaced: Those that it ended on purpose, for a new configuration.
        scaled_down: Those that it ended on purpose, because fewer were wanted.
    """

    name: str
    status: str
    message: str
    wanted: int
    replicas: tuple[Replica, ...]
    died: int
    replaced: int = 0
    scaled_down: int = 0

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

    @property
    def actors(self) -> frozenset[str]:
        """Of the replicas that take requests."""
        running = (r for d in self.deployments for r in d.replicas if r.state == "RUNNING")
        return frozenset(replica.actor for replica in running if replica.actor)

    def without(self, gone: frozenset[str]) -> "RunningApplication":
        """With those whose actor is gone as ``DEAD``."""

        def seen(replica: Replica) -> Replica:
            dead = replica.state == "RUNNING" and replica.actor in gone
            return replace(replica, state=DEAD) if dead else replica

        deployments = (replace(d, replicas=tuple(map(seen, d.replicas))) for d in self.deployments)
        return replace(self, deployments=tuple(deployments))

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


@dataclass(frozen=True, slots=True)
class Fates:
    """Ids of replicas that are gone.

    Attributes:
        died: Ray Serve's controller gave them up.
        scaled_down: It ended them because fewer were wanted.
    """

    died: frozenset[str] = frozenset()
    scaled_down: frozenset[str] = frozenset()


def last_line(text: str) -> str:
    """The line of a remote traceback that says what happened."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"


def fates_of(log: str) -> Fates:
    """What became of replicas, by the log of Ray Serve's controller."""
    died, scaled_down = set(), set()
    surplus: Counter[str] = Counter()
    for line in log.splitlines():
        if removed := _REMOVED.search(line):
            surplus[removed["deployment"]] += int(removed["n"])
        elif (stopped := _STOPPED.search(line)) and surplus[stopped["deployment"]]:
            surplus[stopped["deployment"]] -= 1
            scaled_down.add(stopped["id"])
        elif ("nhealthy" in line or "crashed" in line) and (found := _REPLICA_ID.search(line)):
            died.add(found[1])
    return Fates(frozenset(died), frozenset(scaled_down - died))


def deployment_of(name: str, found: Mapping[str, Any], fates: Fates) -> Deployment:
    """A deployment, from the dashboard's description."""
    gone = [replica.get("replica_id") for replica in found.get("recent_dead_replicas", ())]
    died = sum(replica in fates.died for replica in gone)
    fewer = sum(replica in fates.scaled_down for replica in gone)
    replicas = tuple(
        Replica(
            id=replica.get("replica_id") or "",
            state=replica["state"],
            node=replica.get("node_ip") or "",
            node_id=replica.get("node_id") or "",
            pid=replica.get("pid") or 0,
            started_s=replica.get("start_time_s") or 0.0,
            log=replica.get("log_file_path") or "",
            actor=replica.get("actor_id") or "",
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
        replaced=len(gone) - died - fewer,
        scaled_down=fewer,
    )


def node_of(entry: Mapping[str, Any]) -> Node:
    """A node, from the dashboard's description."""
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
