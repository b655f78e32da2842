"""What ``sentigraph doctor`` judges by: plain facts of ``machine.py`` and ``servers.py``."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Card:
    """One GPU."""

    name: str
    total_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Machine:
    """This machine, as this process may use it.

    Attributes:
        cores: By affinity and cgroup quota.
        cards: None where nothing tells (neither nvidia-smi nor torch).
        open_files: Soft limit.
        python: ``3.11.7``.
        packages: Installed version by normalised name, of those that are pinned.
        pinned: Version by normalised name in constraints.txt; empty where there is no such file.
        free_bytes: Free space by the folder that needs it.
    """

    cores: float
    cards: tuple[Card, ...] | None
    open_files: int
    python: str
    packages: Mapping[str, str]
    pinned: Mapping[str, str]
    free_bytes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Ports:
    """TCP ports of one machine.

    Attributes:
        wanted: By who listens there.
        taken: Those on which something listens now.
        ours: The server answers, so its own ports are taken by right.
    """

    wanted: Mapping[str, int]
    taken: frozenset[int]
    ours: bool


@dataclass(frozen=True, slots=True)
class Redis:
    """The Redis server; ``error`` and nothing else when it does not answer."""

    error: str = ""
    version: str = ""
    max_bytes: int = 0
    policy: str = ""


@dataclass(frozen=True, slots=True)
class Kafka:
    """Topics of the brokers with their partitions; ``error`` when none answers."""

    error: str = ""
    partitions: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Mlflow:
    """The MLflow server or database file; ``error`` when it cannot be used.

    Attributes:
        version: Of the server; empty for a database.
        client: Version that is installed here.
    """

    error: str = ""
    version: str = ""
    client: str = ""


@dataclass(frozen=True, slots=True)
class Running:
    """The server, where one answers.

    Attributes:
        dependencies: State by component, as it says.
        error: Why it does not tell.
    """

    dependencies: Mapping[str, str]
    error: str = ""
