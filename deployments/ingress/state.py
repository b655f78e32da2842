"""What the FastAPI routes ask of the ingress that serves them."""

from typing import Protocol

from deployments.cache.invalidation import Flushed
from deployments.payloads import FeedbackResult, StreamStatus
from deployments.versions import RoutingTable


class Service(Protocol):
    """What the routes ask of the ingress."""

    def routes(self) -> RoutingTable:
        """Which version answers what."""
        ...

    async def flush(self, digest: str) -> Flushed:
        """Forgets every prediction of one bundle, in every cache.

        Raises:
            NotReady: The shared cache does not answer.
        """
        ...

    def metrics_page(self) -> bytes:
        """The Prometheus text page."""
        ...

    async def ready(self) -> dict[str, str]:
        """Result by component; every one ``ok`` or ``degraded: …`` when ready.

        Raises:
            NotReady: A component that predictions need does not answer.
        """
        ...

    async def streams(self) -> list[StreamStatus] | None:
        """Each replica that reads Kafka; None where none does.

        Raises:
            NotReady: They do not answer.
        """
        ...

    async def feedback(self, prediction_id: str, label: str) -> FeedbackResult | None:
        """Judges an answer of any replica; None when none remembers it."""
        ...
