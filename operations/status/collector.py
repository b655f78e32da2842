"""Asks the server, Ray's dashboard and the nodes' metrics pages; what cannot be asked is noted."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from operations.errors import ServerRefused, StackError
from operations.ray_dashboard import Cluster, Deployment, Node, RunningApplication
from operations.server_client import Server
from operations.status.metrics_page import MetricsPage, read_page
from operations.status.overview import Change, Jobs, Mishap, Overview, Streams, Versions, Work

_LOG_LINES = 100
_LOGS = 32
_LOGS_AT_ONCE = 8
_MISHAPS = 5
_MESSAGE_CHARS = 160
_ROLES = ("champion", "challenger", "shadow")
# Beyond these a page each would take longer than a person waits.
_PAGES = 32
_OFF = (404, 503)


class StatusCollector:
    """One look after another at the same system.

    Args:
        server: The application.
        url: Its address, shown.
        cluster: Its Ray; None where it is not to be asked.
        application: Its name in Ray Serve.
    """

    def __init__(self, server: Server, url: str, cluster: Cluster | None, application: str) -> None:
        self._server = server
        self._url = url
        self._cluster = cluster
        self._application = application
        self._notes: list[str] = []

    def look(self) -> Overview:
        """Everything that can be seen now."""
        self._notes = []
        application, nodes = self._running()
        figures = self._figures(application, nodes)
        details = self._ask("/api/v1/health/details") or {}
        states = {
            each["component_name"]: each["details"]["error"] or "ok"
            for each in details.get("dependencies", ())
        }
        versions = self._versions(figures)
        return Overview(
            url=self._url,
            ready=details.get("status") == "healthy",
            dependencies=states,
            application=application,
            nodes=nodes,
            versions=versions,
            change=None if versions is None else self._change(versions.name),
            work=None if figures is None else _work(*figures),
            streams=self._streams(),
            jobs=self._jobs(),
            mishaps=self._mishaps(application),
            notes=tuple(dict.fromkeys(self._notes)),
        )

    def _ask(self, path: str, absent: tuple[int, ...] = ()) -> Any:
        """The answer; None when there is none, noted unless its status is one of ``absent``."""
        try:
            return self._server.ask("GET", path)
        except ServerRefused as refused:
            if refused.status in (401, 403):
                self._notes.append(f"{path} needs a key (--key-file) with a role that may read it")
            elif refused.status not in absent:
                self._notes.append(str(refused))
        except StackError as error:
            self._notes.append(str(error))
        return None

    def _running(self) -> tuple[RunningApplication | None, tuple[Node, ...]]:
        if self._cluster is None:
            return None, ()
        try:
            found = self._cluster.application(self._application)
            if found is None:
                self._notes.append(f"Ray Serve has no application {self._application}")
            return found, self._cluster.nodes()
        except StackError as error:
            self._notes.append(f"{error}: what runs where is not shown")
            return None, ()

    def _figures(
        self, application: RunningApplication | None, nodes: tuple[Node, ...]
    ) -> tuple[MetricsPage, int] | None:
        """The series, and of how many replicas."""
        # At once: from outside of a cluster each would be waited for in vain.
        with ThreadPoolExecutor(_PAGES) as pool:
            found = list(pool.map(lambda n: read_page(n.address, n.metrics_port), nodes[:_PAGES]))
        pages = [page for page in found if page is not None]
        if application is not None and pages:
            replicas = frozenset(r.id for d in application.deployments for r in d.replicas)
            figures = MetricsPage.of_pages(pages, replicas)
            if len(pages) < len(nodes):
                self._notes.append(f"metrics of {len(pages)} of {len(nodes)} nodes can be reached")
            if ingresses := figures.by(
                "replica", "sentiment_active_requests", deployment="Ingress"
            ):
                return figures, len(ingresses)
        try:
            page = self._server.page("/api/v1/metrics")
        except StackError as error:
            self._notes.append(f"no figures: {error}")
            return None
        self._notes.append("figures are those of the one ingress that answered")
        return MetricsPage.of_ingress(page), 1

    def _versions(self, figures: tuple[MetricsPage, int] | None) -> Versions | None:
        live = self._ask("/api/v1/models/live")
        if live is None:
            return None
        champion = live["champion"]
        shown = {role: (live[role] or {}).get("version", 0) for role in _ROLES}
        known = self._ask(f"/api/v1/models/{champion['name']}")
        serving: Mapping[str, float] = {}
        if figures is not None:
            serving = figures[0].by("replica", "sentiment_serving_version", role="champion")
        return Versions(
            name=champion["name"],
            live=shown,
            weights={role: live[f"{role}_weight"] for role in _ROLES[1:]},
            digest=champion["digest"],
            engine=f"{champion['backend']} {champion['precision']}",
            source=champion["source"],
            by_ingress={replica: int(n) for replica, n in serving.items() if replica},
            aliases=None if known is None else known["aliases"],
        )

    def _change(self, name: str) -> Change | None:
        release = self._ask(f"/api/v1/models/{name}/release", absent=(404,))
        if release is not None:
            held = release["held"]
            step = f"step {release['step'] + 1} of {len(release['steps'])}"
            return Change(
                under_way=True,
                what=f"{'held in ' if held else ''}{step}, {release['slot']} {release['weight']:g}",
                version=release["version"],
                why=held or release["reason"],
                at=release["since"],
                actor=release["actor"],
            )
        audit = self._ask(f"/api/v1/models/{name}/audit?limit=1")
        if not audit or not audit["entries"]:
            return None
        last = audit["entries"][0]
        return Change(
            under_way=False,
            what=last["action"],
            version=last["version"] or 0,
            why=last["reason"],
            at=last["at"],
            actor=last["actor"],
        )

    def _streams(self) -> Streams | None:
        found = self._ask("/api/v1/kafka-metrics", absent=_OFF)
        if found is None:
            return None
        return Streams(
            connected=found["running"],
            replicas=found["consumer_threads"],
            lag=found["consumer_group_lag"],
            in_flight=found["batch_queue_size"],
            per_s=found["throughput_tps"],
            dead_letters=found["messages_sent_to_dlq"],
        )

    def _jobs(self) -> Jobs | None:
        found = self._ask("/api/v1/batch/queue/status", absent=_OFF)
        if found is None:
            return None
        queues = found["queues"]
        texts = sum(n for name, n in queues.items() if name.endswith("_texts"))
        return Jobs(jobs=queues["total"], texts=texts)

    def _mishaps(self, application: RunningApplication | None) -> tuple[Mishap, ...]:
        if application is None or self._cluster is None:
            return ()
        logs = [(d, r) for d in application.deployments for r in d.replicas if r.log][:_LOGS]
        cluster = self._cluster
        with ThreadPoolExecutor(_LOGS_AT_ONCE) as pool:
            tails = list(pool.map(lambda log: cluster.log_tail(log[1], _LOG_LINES), logs))
        found = [
            mishap
            for tail, (deployment, replica) in zip(tails, logs, strict=True)
            for mishap in mishaps_of(tail, deployment, replica.id)
        ]
        return tuple(sorted(found, key=lambda mishap: mishap.at)[-_MISHAPS:])


def mishaps_of(log: str, deployment: Deployment, replica: str) -> list[Mishap]:
    """Errors and warnings among the lines of a replica's JSON log; other lines are left out."""
    found = []
    for line in log.splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if not isinstance(record, dict) or record.get("levelname") not in ("WARNING", "ERROR"):
            continue
        at = record.get("timestamp_ns", 0) / 1e9
        message = " ".join(str(record.get("message", "")).split())
        found.append(
            Mishap(
                at=datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds"),
                deployment=deployment.name,
                replica=replica,
                level=record["levelname"],
                message=message[:_MESSAGE_CHARS],
            )
        )
    return found


def _work(figures: MetricsPage, replicas: int) -> Work:
    def total(name: str, **labels: str) -> int:
        return round(figures.total(name, **labels))

    answered: dict[str, int] = {}
    for status, count in figures.by("status_code", "sentiment_requests_total").items():
        kind = f"{status[:1]}xx"
        answered[kind] = answered.get(kind, 0) + round(count)
    dropped = figures.by("reason", "sentiment_dropped_texts_total")
    open_now = figures.by("dependency", "sentiment_breaker_open")
    lookups = "sentiment_cache_lookups_total"
    return Work(
        replicas=replicas,
        answered=dict(sorted(answered.items())),
        lookups=total(lookups, level="l1"),
        l1_hits=total(lookups, level="l1", result="hit")
        + total(lookups, level="l1", result="shared"),
        l2_hits=total(lookups, level="l2", result="hit"),
        cache_bytes=total("sentiment_cache_bytes"),
        queued_texts=total("sentiment_queued_texts"),
        active_requests=total("sentiment_active_requests"),
        predicted_wait_s=figures.largest("sentiment_predicted_wait_seconds"),
        dropped={reason: round(count) for reason, count in dropped.items() if count},
        breakers=tuple(name for name, state in open_now.items() if state > 0),
    )
