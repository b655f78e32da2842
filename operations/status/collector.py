"""What ``sentigraph status --json`` prints, from the server, Ray's dashboard and metrics pages.

What cannot be asked is None, and ``notes`` says why. The keys:

    url, ready     the server, and whether it can classify a text now
    ours           whether a `sentigraph serve` on this machine runs it
    at             time of the look
    dependencies   state by component, as the server reports it
    application    what runs: deployments with their replicas
    nodes          on which machines
    versions       of the model: ``live`` by role (0 for none), ``weights`` of the challenger and
                   the shadow, ``by_ingress`` each replica's champion, ``aliases`` of the registry
    change         the release under way, or else the registry's last change, and in ``released``
                   what became of the last release
    work           requests by class of status, cache, queues, since the replicas started
    streams, jobs  over Kafka and in batches; None where they are off
    mishaps        the last errors and warnings that replicas logged, each once
"""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from operations.clients.http_client import fetch
from operations.clients.ray_dashboard import RayDashboard
from operations.clients.ray_details import Node, RunningApplication
from operations.clients.server import Server
from operations.errors import ServerRefused, StackError
from operations.status.log_lines import distinct, mishaps_of
from operations.status.metrics_page import MetricsPage, read_page, samples_of

Json = dict[str, Any]
_LOG_LINES = 100
_LOGS = 32
_LOGS_AT_ONCE = 8
_MISHAPS = 5
_ROLES = ("champion", "challenger", "shadow")
# Beyond these a page each would take longer than a person waits.
_PAGES = 32
# One that is merely busy answers within it.
_MLFLOW_S = 10.0
_AUDIT_ENTRIES = 50


class StatusCollector:
    """Collects the status of one system, as often as asked.

    Args:
        server: The application.
        dashboard: Of its Ray; None where it is not to be asked.
        application: Its name in Ray Serve.
        ours: Whether a `sentigraph serve` on this machine runs it.
        mlflow: Address of the MLflow that this `sentigraph serve` has started; empty without one.
    """

    def __init__(
        self,
        server: Server,
        dashboard: RayDashboard | None,
        application: str,
        *,
        ours: Callable[[], bool] = lambda: False,
        mlflow: Callable[[], str] = lambda: "",
    ) -> None:
        self._server = server
        self._dashboard = dashboard
        self._application = application
        self._ours = ours
        self._mlflow = mlflow
        self._notes: list[str] = []

    def collect(self) -> Json:
        """The present status, as the module describes it."""
        self._notes = []
        application, nodes = self._running()
        page, replicas = self._series(application, nodes)
        details = self._ask("/api/v1/health/details") or {}
        ready = details.get("status") == "healthy"
        if ready and application is not None and application.status == "DEPLOYING":
            # On a busy machine the server's answer may be half a minute younger.
            application, nodes = self._running()
        versions = self._versions(page)
        return {
            "url": self._server.url,
            "ready": ready,
            "ours": self._ours(),
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "dependencies": self._dependencies(details),
            "application": None if application is None else asdict(application),
            "nodes": [asdict(node) for node in nodes],
            "versions": versions,
            "change": None if versions is None else self._change(versions["name"]),
            "work": None if page is None else work_of(page, replicas),
            "streams": self._streams() if _runs(application, "Stream") else None,
            "jobs": self._jobs() if _runs(application, "Jobs") else None,
            "mishaps": self._logged(application),
            "notes": list(dict.fromkeys(self._notes)),
        }

    def _dependencies(self, details: Json) -> Json:
        found = {
            each["component_name"]: each["details"]["error"] or "ok"
            for each in details.get("dependencies", ())
        }
        if found and (address := self._mlflow()) and fetch(f"{address}/health", _MLFLOW_S) is None:
            found["mlflow"] = (
                f"degraded: MLflow at {address} does not answer; serving goes on without it, "
                "restart the server to have it back"
            )
        return found

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
        if self._dashboard is None:
            return None, ()
        try:
            found = self._dashboard.present(self._application)
            if found is None:
                self._notes.append(f"Ray Serve has no application {self._application}")
            return found, self._dashboard.nodes()
        except StackError as error:
            self._notes.append(f"{error}: what runs where is not shown")
            if isinstance(error, ServerRefused) and error.status in (401, 403):
                self._notes.append("name the file of Ray's token with --ray-token-file")
        return None, ()

    def _series(
        self, application: RunningApplication | None, nodes: tuple[Node, ...]
    ) -> tuple[MetricsPage | None, int]:
        """The series, and the number of ingress replicas that they are summed over."""
        # All at once: from outside of the cluster each takes its whole time-out.
        with ThreadPoolExecutor(_PAGES) as pool:
            found = list(pool.map(lambda n: read_page(n.address, n.metrics_port), nodes[:_PAGES]))
        pages = [page for page in found if page is not None]
        if application is not None and pages:
            replicas = frozenset(r.id for d in application.deployments for r in d.replicas)
            series = MetricsPage.of_pages(pages, replicas)
            if len(pages) < len(nodes):
                self._notes.append(f"metrics of {len(pages)} of {len(nodes)} nodes can be reached")
            if ingresses := series.by("replica", "sentiment_active_requests", deployment="Ingress"):
                return series, len(ingresses)
        try:
            page = self._server.page("/api/v1/metrics")
        except StackError as error:
            self._notes.append(f"no figures: {error}")
            return None, 0
        self._notes.append("figures are those of the one ingress that answered")
        return MetricsPage(samples_of(page)), 1

    def _versions(self, page: MetricsPage | None) -> Json | None:
        live = self._ask("/api/v1/models/live")
        if live is None:
            return None
        champion = live["champion"]
        known = self._ask(f"/api/v1/models/{champion['name']}")
        serving = {}
        if page is not None:
            serving = page.by("replica", "sentiment_serving_version", role="champion")
        return {
            "name": champion["name"],
            "live": {role: (live[role] or {}).get("version", 0) for role in _ROLES},
            "weights": {role: live[f"{role}_weight"] for role in _ROLES[1:]},
            "digest": champion["digest"],
            "engine": f"{champion['backend']} {champion['precision']}",
            "source": champion["source"],
            "by_ingress": {replica: int(n) for replica, n in serving.items() if replica},
            "aliases": None if known is None else known["aliases"],
        }

    def _change(self, name: str) -> Json | None:
        audit = self._ask(f"/api/v1/models/{name}/audit?limit={_AUDIT_ENTRIES}")
        if not audit or not audit["entries"]:
            return None
        last = audit["entries"][0]
        # Asking for a release that is not there would be an error in the server's own figures.
        moved = next((e for e in audit["entries"] if "release" in e["after"]), None)
        if moved is not None and moved["after"]["release"]:
            release = self._ask(f"/api/v1/models/{name}/release", absent=(404,))
            if release is not None:
                return _under_way(release)
        return {
            "under_way": False,
            "what": last["action"],
            "version": last["version"] or 0,
            "why": last["reason"],
            "at": last["at"],
            "actor": last["actor"],
            "released": _released(audit["entries"]),
        }

    def _streams(self) -> Json | None:
        found = self._ask("/api/v1/kafka-metrics")
        return found and {
            "connected": found["running"],
            "replicas": found["consumer_threads"],
            "lag": found["consumer_group_lag"],
            "in_flight": found["batch_queue_size"],
            "per_s": found["throughput_tps"],
            "dead_letters": found["messages_sent_to_dlq"],
        }

    def _jobs(self) -> Json | None:
        found = self._ask("/api/v1/batch/queue/status")
        if found is None:
            return None
        queues = found["queues"]
        texts = sum(n for name, n in queues.items() if name.endswith("_texts"))
        return {"jobs": queues["total"], "texts": texts}

    def _logged(self, application: RunningApplication | None) -> list[Json]:
        dashboard = self._dashboard
        if application is None or dashboard is None:
            return []
        logs = [(d, r) for d in application.deployments for r in d.replicas if r.log][:_LOGS]
        with ThreadPoolExecutor(_LOGS_AT_ONCE) as pool:
            tails = pool.map(lambda log: dashboard.log_tail(log[1], _LOG_LINES), logs)
            found = [
                mishap
                for tail, (deployment, replica) in zip(tails, logs, strict=True)
                for mishap in mishaps_of(tail, deployment, replica.id)
            ]
        return distinct(found)[-_MISHAPS:]


def _runs(application: RunningApplication | None, name: str) -> bool:
    """Whether the graph has that deployment; unknown without Ray, and then not asked for."""
    return application is not None and any(d.name == name for d in application.deployments)


def _released(entries: list[Json]) -> Json | None:
    """The end of the last release, by entries from the newest on; None when none ended in them."""
    moved = [entry for entry in entries if "release" in entry["after"]]
    for end, before in pairwise(moved):
        if before["after"]["release"] and not end["after"]["release"]:
            version = before["after"]["release"]["version"]
            return {
                "what": end["action"],
                "version": version,
                "why": end["reason"],
                "at": end["at"],
            }
    return None


def _under_way(release: Json) -> Json:
    held = release["held"]
    step = f"step {release['step'] + 1} of {len(release['steps'])}"
    return {
        "under_way": True,
        "what": f"{'held in ' if held else ''}{step}, {release['slot']} {release['weight']:g}",
        "version": release["version"],
        "why": held or release["reason"],
        "at": release["since"],
        "actor": release["actor"],
    }


def work_of(page: MetricsPage, replicas: int) -> Json:
    """What ``replicas`` ingresses have done since they started, and what waits in them."""

    def total(name: str, **labels: str) -> int:
        return round(page.total(f"sentiment_{name}", **labels))

    answered: Counter[str] = Counter()
    for status, count in page.by("status_code", "sentiment_requests_total").items():
        answered[f"{status[:1]}xx"] += round(count)
    dropped = page.by("reason", "sentiment_dropped_texts_total")
    breakers = page.by("dependency", "sentiment_breaker_open")
    l1_hits = [total("cache_lookups_total", level="l1", result=r) for r in ("hit", "shared")]
    return {
        "replicas": replicas,
        "answered": dict(sorted(answered.items())),
        "lookups": total("cache_lookups_total", level="l1"),
        "l1_hits": sum(l1_hits),
        "l2_hits": total("cache_lookups_total", level="l2", result="hit"),
        "cache_bytes": total("cache_bytes"),
        "queued_texts": total("queued_texts"),
        "active_requests": total("active_requests"),
        "predicted_wait_s": page.largest("sentiment_predicted_wait_seconds"),
        "dropped": {reason: round(count) for reason, count in dropped.items() if count},
        "breakers": [name for name, state in breakers.items() if state > 0],
    }
