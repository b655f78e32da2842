"""All replicas of the running application; the Registry deployment alone calls them all."""

import contextlib
from collections.abc import Sequence
from typing import Any

from ray import serve
from ray.exceptions import RayActorError

from deployments.feedback import Judgement
from deployments.observed import Counts
from deployments.probe import Probe
from deployments.router import Routes


class ServeFleet:
    """``Fleet`` of the running application. Finds its deployments when first used."""

    def __init__(self, topology: str, *, stream: bool, jobs: bool) -> None:
        # Models before tokenizers: a tokenizer's replica may ask a model at once.
        self._holders = ("Model", "Tokenizer") if topology == "split" else ("Ingress",)
        self._behind = [name for name, on in (("Stream", stream), ("Jobs", jobs)) if on]

    async def load(self, digest: str) -> None:
        """See ``Fleet.load``."""
        for name in self._holders:
            await _every(name, "load", digest)

    async def probe(self, digest: str, texts: Sequence[str]) -> list[Probe]:
        """See ``Fleet.probe``."""
        return await _every(self._holders[0], "probe", digest, list(texts))

    async def route(self, routes: Routes) -> list[int]:
        """See ``Fleet.route``; texts come through the ingress, and from Kafka and jobs."""
        epochs: list[int] = []
        for name in self._behind:
            # A replica that is away takes the present table when it starts.
            with contextlib.suppress(RayActorError):
                epochs += await _every(name, "route", routes)
        return epochs + await _every("Ingress", "route", routes)

    async def let_go(self, digest: str) -> None:
        """See ``Fleet.let_go``."""
        for name in reversed(self._holders):
            await _every(name, "let_go", digest)


class ServeIngresses:
    """``Ingresses`` of the running application."""

    async def observed(self, digest: str) -> list[Counts]:
        """See ``Ingresses.observed``."""
        return await _every("Ingress", "observed", digest)

    async def judge(self, prediction_id: str, label: str) -> list[Judgement | None]:
        """See ``Ingresses.judge``."""
        return await _every("Ingress", "judge", prediction_id, label)


async def _every(deployment: str, method: str, *args: object) -> list[Any]:
    """Calls every replica of a deployment of this application; raises what one of them raises."""
    application = serve.get_replica_context().app_name
    handle = serve.get_deployment_handle(deployment, application)
    answers: list[Any] = await handle.broadcast(method, *args).results_async()
    return answers
