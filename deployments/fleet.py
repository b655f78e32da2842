"""The running application, as the Registry deployment sees it: every replica of every stage."""

import contextlib
from collections.abc import Sequence
from typing import Any

from ray import serve
from ray.exceptions import RayActorError

from deployments.probe import Probe
from deployments.router import Routes


class ServeFleet:
    """``Fleet`` of the running application. Finds its deployments when first used."""

    def __init__(self, topology: str, *, jobs: bool = False) -> None:
        self._jobs = jobs
        # Models before tokenizers: a tokenizer's replica may ask a model at once.
        self._holders = ("Model", "Tokenizer") if topology == "split" else ("Tokenizer",)

    async def load(self, digest: str) -> None:
        """See ``Fleet.load``."""
        for name in self._holders:
            await _every(name, "load", digest)

    async def probe(self, digest: str, texts: Sequence[str]) -> list[Probe]:
        """See ``Fleet.probe``."""
        return await _every(self._holders[0], "probe", digest, list(texts))

    async def route(self, routes: Routes) -> list[int]:
        """See ``Fleet.route``."""
        if self._jobs:
            # A replica that is away takes the present table when it starts.
            with contextlib.suppress(RayActorError):
                await _every("Jobs", "route", routes)
        return await _every("Ingress", "route", routes)

    async def let_go(self, digest: str) -> None:
        """See ``Fleet.let_go``."""
        for name in reversed(self._holders):
            await _every(name, "let_go", digest)


async def _every(deployment: str, method: str, *args: object) -> list[Any]:
    """Calls every replica of a deployment of this application; raises what one of them raises."""
    application = serve.get_replica_context().app_name
    handle = serve.get_deployment_handle(deployment, application)
    answers: list[Any] = await handle.broadcast(method, *args).results_async()
    return answers
