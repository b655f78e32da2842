"""Whether this replica may get requests, and what behind it is degraded."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from configs.schema.app import AppConfig
from deployments.errors import NotReady, cause
from deployments.payloads import RunTexts, TextBatch
from deployments.telemetry.metrics import Metrics
from deployments.transport.handles import RemoteCache, RemoteStream
from deployments.versions import RoutingTable

_log = logging.getLogger("ray.serve.sentigraph")

_BUDGET_S = 5.0
_FRESH_S = 1.0
# A machine that is merely busy answers within it.
_CACHE_S = 2.0


class Readiness:
    """Asks the stages behind an ingress; an answer is good for a second."""

    def __init__(
        self,
        run_texts: RunTexts,
        routes: Callable[[], RoutingTable],
        metrics: Metrics,
        *,
        cache: RemoteCache | None,
        stream: RemoteStream | None,
    ) -> None:
        self._run_texts = run_texts
        self._routes = routes
        self._metrics = metrics
        self._cache = cache
        self._stream = stream
        self._known: tuple[float, dict[str, str]] | None = None
        # Vault's state, where there is a gate that uses it.
        self.secrets: Callable[[], str | None] = lambda: None
        # What is said of a full disk of this node.
        self.disk: Callable[[], str | None] = lambda: None
        # A sentence for each replica of the stages that does not answer now.
        self.silent: Callable[[], Sequence[str]] = tuple

    def forget(self) -> None:
        """The next question is asked anew."""
        self._known = None

    async def checks(self) -> dict[str, str]:
        """Classifies a fixed text on the real stages; the state of every dependency by name.

        Raises:
            NotReady: The tokenizer or the model did not answer in time, or its scores are no
                numbers: the first version of a graph has no other beside which it is probed.
        """
        now = time.monotonic()
        if self._known is not None and now - self._known[0] < _FRESH_S:
            return self._known[1]
        routes = self._routes()
        budget_s = np.array([_BUDGET_S], dtype=np.float32)
        probe = TextBatch(routes.champion.digest, ["ready?"], budget_s, np.array([False]))
        try:
            answer = await asyncio.wait_for(self._run_texts(probe), _BUDGET_S)
        except Exception as error:
            self._metrics.model_loaded.set(0)
            _log.warning("readiness probe failed: %s", cause(error))
            raise NotReady("the model stage does not answer") from error
        if not np.isfinite(answer.scores.scores).all():
            self._metrics.model_loaded.set(0)
            raise NotReady(f"version {routes.champion.version} gives scores that are no numbers")
        self._metrics.model_loaded.set(1)
        checks = {"model": "ok", "registry": _registry_state(routes)}
        if silent := self.silent():
            checks["model"] = f"degraded: {'; '.join(silent)}; others take its texts"
        if self._cache is not None:
            checks["cache"] = await _check_cache(self._cache)
        if self._stream is not None:
            checks["kafka"] = await self._stream.check()
        if disk := await asyncio.to_thread(self.disk):
            checks["disk"] = disk
        if secrets := self.secrets():
            checks["secrets"] = secrets
        self._known = (now, checks)
        return checks


def _registry_state(routes: RoutingTable) -> str:
    if routes.registry_away:
        return "degraded: MLflow did not answer, last known version is served"
    if routes.champion.source == "last_known":
        return "degraded: last known version is served, not yet the champion"
    return "ok"


async def _check_cache(shared: RemoteCache) -> str:
    try:
        await asyncio.wait_for(shared.get_many([b""]), _CACHE_S)
    except Exception as error:  # noqa: BLE001  (whatever it is, the cache is what is degraded)
        return f"degraded: {type(cause(error)).__name__}, predictions go on without it"
    return "ok"


def watched_parts(config: AppConfig) -> Callable[..., dict[str, tuple[bool, bool]]]:
    """Says of each part that watches whether it is on, and whether it works."""
    parts = {
        "drift_detection": config.drift.enabled,
        "explainability": config.explanations.enabled,
        "advanced_metrics": config.kpis.enabled,
    }

    def found(works: Mapping[str, bool], *, registry: bool) -> dict[str, tuple[bool, bool]]:
        shown = {name: (on, works.get(name, False)) for name, on in parts.items()}
        return shown | {"model_registry": (True, registry)}

    return found
