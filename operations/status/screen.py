"""An ``Overview`` as lines for a person; ``--json`` prints the record itself. Pure."""

from collections.abc import Iterator, Sequence

from operations.status.overview import Overview, Work, problems

_WIDTH = 13


def lines(seen: Overview, now_s: float) -> Iterator[str]:
    """The screen, from what answers to what went wrong."""
    wrong = problems(seen)
    yield f"sentigraph at {seen.url}: {'healthy' if not wrong else 'NOT HEALTHY'}"
    yield from _titled("wrong", wrong)
    yield from _titled("deployments", _deployments(seen, now_s))
    yield from _titled("nodes", _nodes(seen))
    yield from _titled("model", _versions(seen))
    yield from _titled("change", _change(seen))
    if seen.work is not None:
        yield from _titled("requests", _requests(seen.work))
        yield from _titled("cache", _cache(seen.work, seen.dependencies.get("cache")))
        yield from _titled("queue", _queue(seen.work))
    yield from _titled("streams", _streams(seen))
    yield from _titled("jobs", _jobs(seen))
    states = [f"{name} {said}" for name, said in seen.dependencies.items()]
    yield from _titled("dependencies", [", ".join(states)] if states else [])
    said = [f"{m.at} {m.level} {m.deployment} {m.replica}: {m.message}" for m in seen.mishaps]
    yield from _titled("last errors", said or (["none"] if seen.application else []))
    yield from _titled("note", seen.notes)


def _titled(title: str, texts: Sequence[str]) -> Iterator[str]:
    for position, text in enumerate(texts):
        yield f"{title if position == 0 else '':<{_WIDTH}} {text}".rstrip()


def _deployments(seen: Overview, now_s: float) -> list[str]:
    if seen.application is None:
        return []
    found = []
    for deployment in seen.application.deployments:
        places = [
            f"{replica.id} on {replica.node or '?'} {_state(replica.state)}pid {replica.pid}, "
            f"{_age(now_s - replica.started_s) if replica.started_s else 'new'}"
            for replica in deployment.replicas
        ]
        died = f", {deployment.died} died" if deployment.died else ""
        head = (
            f"{deployment.name:<10} {deployment.status:<9} "
            f"{deployment.running}/{deployment.wanted}{died}"
        )
        first = places[:1] or ["no replica"]
        found.append(f"{head:<32} {first[0]}")
        found += [f"{'':<32} {place}" for place in places[1:]]
    return found


def _state(state: str) -> str:
    return "" if state == "RUNNING" else f"{state} "


def _age(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"


def _nodes(seen: Overview) -> list[str]:
    return [
        f"{node.hostname or node.address} ({node.address}){' head' if node.is_head else ''}: "
        f"{node.cores} cores, load {node.load:.1f}, memory {node.memory_ratio:.0%}"
        for node in seen.nodes
    ]


def _versions(seen: Overview) -> list[str]:
    versions = seen.versions
    if versions is None:
        return []
    live = [f"champion {versions.live['champion']}"]
    for role, weight in versions.weights.items():
        if number := versions.live.get(role, 0):
            live.append(f"{role} {number} ({weight:.0%})")
    found = [
        f"{versions.name}: {', '.join(live)}; {versions.engine}, bundle {versions.digest[:12]}, "
        f"from {versions.source.replace('_', ' ')}"
    ]
    if versions.by_ingress:
        each = ", ".join(f"{name} {number}" for name, number in versions.by_ingress.items())
        found.append(f"champion of each ingress: {each}")
    if versions.aliases is not None:
        named = ", ".join(f"{alias} {number}" for alias, number in versions.aliases.items())
        found.append(f"the registry says: {named or 'no alias'}")
    return found


def _change(seen: Overview) -> list[str]:
    change = seen.change
    if change is None:
        return []
    kind = "release under way" if change.under_way else "no release; last"
    why = f": {change.why}" if change.why else ""
    return [
        f"{kind} {change.what} of version {change.version} by {change.actor}, {change.at[:19]}{why}"
    ]


def _requests(work: Work) -> list[str]:
    answered = ", ".join(f"{count} {kind}" for kind, count in work.answered.items()) or "none yet"
    whom = "one ingress" if work.replicas == 1 else f"{work.replicas} ingresses"
    return [f"{answered}; {work.active_requests} under way ({whom}, since they started)"]


def _cache(work: Work, state: str | None) -> list[str]:
    if not work.lookups:
        ratio = "no text looked for yet"
    else:
        ratio = (
            f"{work.l1_hits / work.lookups:.1%} of {work.lookups} texts in memory, "
            f"{work.l2_hits / work.lookups:.1%} in level two"
        )
    return [f"{ratio}; {work.cache_bytes / 1e6:.1f} MB; level two: {state or 'off'}"]


def _queue(work: Work) -> list[str]:
    wait = work.predicted_wait_s
    predicted = "no wait predicted yet" if wait is None else f"predicted wait {wait * 1_000:.0f} ms"
    dropped = ", ".join(f"{count} {reason}" for reason, count in work.dropped.items())
    return [f"{work.queued_texts} texts wait, {predicted}; dropped: {dropped or 'none'}"]


def _streams(seen: Overview) -> list[str]:
    streams = seen.streams
    if streams is None:
        return ["off"] if seen.ready else []
    return [
        f"{streams.lag} messages behind, {streams.in_flight} in flight, "
        f"{streams.per_s:g} a second, {streams.dead_letters} dead letters "
        f"({streams.replicas} replicas)"
    ]


def _jobs(seen: Overview) -> list[str]:
    if seen.jobs is None:
        return ["off"] if seen.ready else []
    return [f"{seen.jobs.jobs} jobs with {seen.jobs.texts} texts wait or are under way"]
