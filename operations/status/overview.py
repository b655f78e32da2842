"""Everything that ``sentigraph status`` shows, as records; ``questions.py`` fills them."""

from collections.abc import Mapping
from dataclasses import dataclass

from operations.ray_dashboard import Node, RunningApplication


@dataclass(frozen=True, slots=True)
class Versions:
    """Which model versions answer, and which the registry names.

    Attributes:
        name: The served model.
        live: Role to version number, of the ingress that answered; 0 for none.
        weights: Share of traffic of challenger and shadow.
        digest: Of the champion's bundle.
        engine: Of the champion, for example ``onnx int8``.
        source: ``registry``, or ``last_known`` while MLflow was away at the start.
        by_ingress: Replica to champion; empty where Ray's metrics cannot be reached.
        aliases: Alias to version number as the registry says; None when it does not answer.
    """

    name: str
    live: Mapping[str, int]
    weights: Mapping[str, float]
    digest: str
    engine: str
    source: str
    by_ingress: Mapping[str, int]
    aliases: Mapping[str, int] | None


@dataclass(frozen=True, slots=True)
class Change:
    """The release that is under way, or else the registry's last change.

    Attributes:
        under_way: Whether it is a release that goes on.
        what: The step, or the audit ledger's word for the change.
        version: Number.
        why: What it waits for, or the reason that was given.
        at: When, as the server says.
        actor: Who did it.
    """

    under_way: bool
    what: str
    version: int
    why: str
    at: str
    actor: str


@dataclass(frozen=True, slots=True)
class Work:
    """What the replicas have done and have before them, since they started.

    Attributes:
        replicas: How many of them are summed up.
        answered: Requests by class of status, for example ``2xx``.
        lookups: Texts that were looked for in an ingress's memory.
        l1_hits: Of these found there, or just under way.
        l2_hits: Found in the shared cache.
        cache_bytes: Memory of the ingresses' first level.
        queued_texts: Waiting in ingresses.
        active_requests: Being answered.
        predicted_wait_s: The longest that an ingress predicted last; None before the first text.
        dropped: Texts by reason.
        breakers: Dependencies that some replica leaves alone.
    """

    replicas: int
    answered: Mapping[str, int]
    lookups: int
    l1_hits: int
    l2_hits: int
    cache_bytes: int
    queued_texts: int
    active_requests: int
    predicted_wait_s: float | None
    dropped: Mapping[str, int]
    breakers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Streams:
    """What comes over Kafka."""

    connected: bool
    replicas: int
    lag: int
    in_flight: int
    per_s: float
    dead_letters: int


@dataclass(frozen=True, slots=True)
class Jobs:
    """Batch jobs that wait or are under way."""

    jobs: int
    texts: int


@dataclass(frozen=True, slots=True)
class Mishap:
    """An error or a warning that a replica logged."""

    at: str
    deployment: str
    replica: str
    level: str
    message: str


@dataclass(frozen=True, slots=True)
class Overview:
    """One look at the system; None where nobody could be asked, and ``notes`` says why.

    Attributes:
        url: Of the server.
        ready: Whether a text can be classified now.
        dependencies: State by component, as the server says.
        application: What runs.
        nodes: On which machines.
        versions: Of the model.
        change: A release, or the last change.
        work: Requests, cache, queues.
        streams: Over Kafka; None where they are off.
        jobs: None where they are off.
        mishaps: What replicas logged last.
        notes: What could not be asked.
    """

    url: str
    ready: bool
    dependencies: Mapping[str, str]
    application: RunningApplication | None
    nodes: tuple[Node, ...]
    versions: Versions | None
    change: Change | None
    work: Work | None
    streams: Streams | None
    jobs: Jobs | None
    mishaps: tuple[Mishap, ...]
    notes: tuple[str, ...]


def problems(seen: Overview) -> list[str]:
    """What is wrong, one sentence each; empty when all is well. Pure."""
    found = [] if seen.ready else ["no text can be classified now"]
    found += [f"{name}: {said}" for name, said in seen.dependencies.items() if said != "ok"]
    if seen.application is not None:
        found += _of_application(seen.application)
    if seen.versions is not None:
        found += _of_versions(seen.versions)
    if seen.streams is not None and not seen.streams.connected:
        found.append("Kafka does not answer every stream replica")
    if seen.change is not None and seen.change.what.startswith("held"):
        found.append(f"the release of version {seen.change.version} is held: {seen.change.why}")
    if seen.work is not None:
        found += [f"{name} is left alone by its breaker" for name in seen.work.breakers]
    return found


def _of_application(application: RunningApplication) -> list[str]:
    found = []
    if application.status != "RUNNING":
        found.append(f"application {application.name} is {application.status}")
    for deployment in application.deployments:
        if deployment.running < deployment.wanted:
            found.append(
                f"{deployment.name} has {deployment.running} of {deployment.wanted} replicas"
            )
        if deployment.status in ("UNHEALTHY", "DEPLOY_FAILED"):
            lines = deployment.message.strip().splitlines() or [""]
            found.append(f"{deployment.name} is {deployment.status}: {lines[-1][:200]}")
    return found


def _of_versions(versions: Versions) -> list[str]:
    found = []
    champion = (versions.aliases or {}).get("champion")
    answering = {**versions.by_ingress} or {"the ingress": versions.live.get("champion", 0)}
    if champion is not None:
        found += [
            f"{who} serves version {version}, and the registry's champion is {champion}"
            for who, version in answering.items()
            if version != champion
        ]
    elif len(set(answering.values())) > 1:
        found.append(f"ingresses serve different versions: {sorted(set(answering.values()))}")
    return found
