"""The status of ``collector.py`` as sentences: what is wrong, and the screen for a person. Pure."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

_WIDTH = 13
# A replica copies its series to Ray every ten seconds, and Ray passes them on as often.
_SERIES_S = 30
Json = Mapping[str, Any]


def problems(seen: Json) -> list[str]:
    """What is wrong, one sentence each; empty when all is well, and while the graph starts."""
    if starting(seen):
        return []
    found = [] if seen["ready"] else ["no text can be classified now"]
    found += [f"{name}: {said}" for name, said in seen["dependencies"].items() if said != "ok"]
    if application := seen["application"]:
        if application["status"] not in ("RUNNING", "DEPLOYING"):
            why = _last_line(application["message"])
            found.append(f"application {application['name']} is {application['status']}{why}")
        for deployment in application["deployments"]:
            found += _of_deployment(deployment, updating(seen))
    if seen["versions"] and not _moved_lately(seen):
        found += _of_versions(seen["versions"])
    if seen["streams"] and not seen["streams"]["connected"]:
        found.append("Kafka does not answer every stream replica")
    change = seen["change"]
    if change and change["what"].startswith("held"):
        found.append(f"the release of version {change['version']} is held: {change['why']}")
    if seen["work"]:
        found += [f"{name} is left alone by its breaker" for name in seen["work"]["breakers"]]
    return found


def starting(seen: Json) -> bool:
    """Whether the graph comes up for the first time: nothing has answered, died or failed yet."""
    application = seen["application"]
    if application is None:
        # `sentigraph serve` ends with any of its parts: while it runs and none answers, they come.
        return bool(seen["ours"] and not seen["ready"] and not seen["dependencies"])
    return bool(
        not seen["ready"]
        and application["status"] == "DEPLOYING"
        and not any(d["died"] or d["replaced"] for d in application["deployments"])
        and all(d["status"] in ("", "UPDATING", "HEALTHY") for d in application["deployments"])
    )


def state(seen: Json) -> str:
    """The first line's word."""
    if starting(seen):
        return "starting"
    word = "NOT HEALTHY" if problems(seen) else "healthy"
    return f"{word}, updating" if updating(seen) else word


def updating(seen: Json) -> bool:
    """Whether a new configuration comes in while texts are classified as before."""
    application = seen["application"]
    return bool(seen["ready"] and application and application["status"] == "DEPLOYING")


def _of_deployment(deployment: Json, under_way: bool) -> Iterator[str]:
    name, wanted, status = deployment["name"], deployment["wanted"], deployment["status"]
    under_way = under_way or status == "UPSCALING"
    if _running(deployment) < wanted and not (under_way and _running(deployment)):
        yield f"{name} has {_running(deployment)} of {wanted} replicas"
    for replica in deployment["replicas"] if not under_way else ():
        if replica["state"] == "DEAD":
            yield (
                f"{name} replica {replica['id']} is dead: its process {replica['pid']} has ended, "
                "and Ray Serve starts another"
            )
    if status in ("UNHEALTHY", "DEPLOY_FAILED"):
        yield f"{name} is {status}{_last_line(deployment['message'])}"


def _last_line(message: str) -> str:
    """What Serve says of it: the last line of a traceback is what happened."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return f": {lines[-1][:300]}" if lines else ""


def _moved_lately(seen: Json) -> bool:
    """Whether the champion was moved so lately that the replicas' series may not show it yet."""
    change = seen["change"]
    moved = change and not change["under_way"] and change["at"]
    if not moved:
        return False
    age = datetime.fromisoformat(seen["at"]) - datetime.fromisoformat(moved)
    return age.total_seconds() < _SERIES_S


def _of_versions(versions: Json) -> list[str]:
    champion = (versions["aliases"] or {}).get("champion")
    answering = versions["by_ingress"] or {"the ingress": versions["live"].get("champion", 0)}
    if champion is not None:
        return [
            f"{who} serves version {version}, and the registry's champion is {champion}"
            for who, version in answering.items()
            if version != champion
        ]
    different = sorted(set(answering.values()))
    return [f"ingresses serve different versions: {different}"] if len(different) > 1 else []


def _running(deployment: Json) -> int:
    return sum(replica["state"] == "RUNNING" for replica in deployment["replicas"])


def lines(seen: Json, now_s: float) -> Iterator[str]:
    """The screen, from what answers to what went wrong."""
    wrong = problems(seen)
    yield f"sentigraph at {seen['url']}: {state(seen)}"
    states = ", ".join(f"{name} {said}" for name, said in seen["dependencies"].items())
    mishaps = [
        "{at} {level} {deployment} {replica}: {message}".format(**mishap)
        + (f" ({mishap['times']} times)" if mishap["times"] > 1 else "")
        for mishap in seen["mishaps"]
    ]
    off = ["off"] if seen["application"] else []
    work = seen["work"]
    for title, texts in {
        "wrong": wrong,
        "deployments": _deployments(seen["application"], now_s),
        "nodes": [_node(node) for node in seen["nodes"]],
        "model": _versions(seen["versions"]) if seen["versions"] else [],
        "change": list(_change(seen["change"])) if seen["change"] else [],
        "requests": [_requests(work)] if work else [],
        "cache": [_cache(work, seen["dependencies"].get("cache"))] if work else [],
        "queue": [_queue(work)] if work else [],
        "streams": [_streams(seen["streams"])] if seen["streams"] else off,
        "jobs": ["{jobs} jobs with {texts} texts wait or are under way".format(**seen["jobs"])]
        if seen["jobs"]
        else off,
        "dependencies": [states] if states else [],
        "last errors": mishaps or (["none"] if seen["application"] else []),
        "note": seen["notes"],
    }.items():
        for position, text in enumerate(texts):
            yield f"{title if position == 0 else '':<{_WIDTH}} {text}".rstrip()


def _deployments(application: Json | None, now_s: float) -> list[str]:
    found = []
    for deployment in application["deployments"] if application else ():
        died = f", {deployment['died']} died" if deployment["died"] else ""
        died += f", {deployment['replaced']} replaced" if deployment["replaced"] else ""
        fewer = deployment["scaled_down"]
        died += f", {fewer} scaled down" if fewer else ""
        head = (
            f"{deployment['name']:<10} {deployment['status']:<9} "
            f"{_running(deployment)}/{deployment['wanted']}{died}"
        )
        first, *others = [_replica(r, now_s) for r in deployment["replicas"]] or ["no replica"]
        found += [f"{head:<32} {first}", *(f"{'':<32} {other}" for other in others)]
    return found


def _replica(replica: Json, now_s: float) -> str:
    state = "" if replica["state"] == "RUNNING" else f"{replica['state']} "
    age = _age(now_s - replica["started_s"]) if replica["started_s"] else "new"
    return f"{replica['id']} on {replica['node'] or '?'} {state}pid {replica['pid']}, {age}"


def _age(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"


def _node(node: Json) -> str:
    return (
        f"{node['hostname'] or node['address']} ({node['address']})"
        f"{' head' if node['is_head'] else ''}: {node['cores']} cores, "
        f"load {node['load']:.1f}, memory {node['memory_ratio']:.0%}"
    )


def _versions(versions: Json) -> list[str]:
    live = [f"champion {versions['live']['champion']}"]
    for role, weight in versions["weights"].items():
        if number := versions["live"].get(role, 0):
            live.append(f"{role} {number} ({weight:.0%})")
    found = [
        f"{versions['name']}: {', '.join(live)}; {versions['engine']}, bundle "
        f"{versions['digest'][:12]}, from {versions['source'].replace('_', ' ')}"
    ]
    if versions["by_ingress"]:
        found.append(f"champion of each ingress: {_pairs(versions['by_ingress'])}")
    if versions["aliases"] is not None:
        found.append(f"the registry says: {_pairs(versions['aliases']) or 'no alias'}")
    return found


def _pairs(values: Json) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _change(change: Json) -> Iterator[str]:
    kind = "release under way" if change["under_way"] else "no release; last"
    why = f": {change['why']}" if change["why"] else ""
    yield (
        f"{kind} {change['what']} of version {change['version']} by {change['actor']}, "
        f"{change['at'][:19]}{why}"
    )
    if (released := change.get("released")) and released["at"] != change["at"]:
        yield "last release: {what} of version {version}, {at}: {why}".format(
            **released | {"at": released["at"][:19]}
        )


def _counts(values: Json) -> str:
    return ", ".join(f"{count} {name}" for name, count in values.items())


def _requests(work: Json) -> str:
    whom = "one ingress" if work["replicas"] == 1 else f"{work['replicas']} ingresses"
    return (
        f"{_counts(work['answered']) or 'none yet'}; {work['active_requests']} under way "
        f"({whom}, since they started)"
    )


def _cache(work: Json, state: str | None) -> str:
    ratio = "no text looked for yet"
    if lookups := work["lookups"]:
        ratio = (
            f"{work['l1_hits'] / lookups:.1%} of {lookups} texts in memory, "
            f"{work['l2_hits'] / lookups:.1%} in level two"
        )
    return f"{ratio}; {work['cache_bytes'] / 1e6:.1f} MB; level two: {state or 'off'}"


def _queue(work: Json) -> str:
    wait = work["predicted_wait_s"]
    predicted = "no wait predicted yet" if wait is None else f"predicted wait {wait * 1_000:.0f} ms"
    dropped = _counts(work["dropped"]) or "none"
    return f"{work['queued_texts']} texts wait, {predicted}; dropped: {dropped}"


def _streams(streams: Json) -> str:
    return (
        "{lag} messages behind, {in_flight} in flight, {per_s:g} a second, "
        "{dead_letters} dead letters ({replicas} replicas)"
    ).format(**streams)
