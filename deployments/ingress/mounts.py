"""The other deployments as the ingress sees them: what it calls, and whose routes it forwards.

``app.py`` decides what is mounted; the ingress forwards by prefix and describes the routes in its
OpenAPI document.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from starlette.routing import BaseRoute

from configs.schema.app import AppConfig
from deployments.asgi.exchange import Exchange
from deployments.asgi.proxy import ProxyClient, Upstream
from deployments.asgi.upload import Uploads
from deployments.errors import FeatureOff

D = TypeVar("D")

# Space for the form around an upload.
_FORM_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Mount:
    """Routes below a prefix that another deployment answers.

    Attributes:
        prefix: Path of the routes, and start of all paths below it.
        name: The deployment in messages, as "the model registry".
        off: What a caller is told where it is off.
        off_error: The error that says so.
        max_upload_bytes: Largest file in a form.
        routes: Makes the routes for the OpenAPI document; opens nothing.
        own: Paths below the prefix that the ingress answers itself.
    """

    prefix: str
    name: str
    max_upload_bytes: int
    routes: Callable[[AppConfig], Sequence[BaseRoute]]
    off: str = ""
    off_error: type[FeatureOff] = FeatureOff
    own: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Upstreams(Generic[D]):
    """What an ingress calls: applications in the graph's builder, handles in a replica.

    Attributes:
        registry: The Registry deployment.
        tokenizer: The Tokenizer deployment; None in the fused topology.
        cache: The Cache deployment, if there is one.
        stream: The Stream deployment, if there is one.
        insight: The Insight deployment, if there is one.
        mounts: Routes of other deployments; None for a deployment that is off.
    """

    registry: D
    tokenizer: D | None
    cache: D | None = None
    stream: D | None = None
    insight: D | None = None
    mounts: Sequence[tuple[Mount, D | None]] = ()


def mounted(
    upstreams: Upstreams[D],
    reach: Callable[[D, str], Upstream],
    max_body_bytes: int,
    uploads: Uploads,
) -> "list[MountedRoutes]":
    """What an ingress forwards; ``reach`` makes the way to a deployment of that name."""
    return [
        MountedRoutes(
            mount, None if far is None else reach(far, mount.name), max_body_bytes, uploads
        )
        for mount, far in upstreams.mounts
    ]


class MountedRoutes:
    """Forwards the requests of one mount; without an ``upstream`` the deployment is off."""

    def __init__(
        self, mount: Mount, upstream: Upstream | None, max_body_bytes: int, uploads: Uploads
    ) -> None:
        self._mount = mount
        # Their own patterns are not known here.
        self._endpoint = f"{mount.prefix}/*"
        self._max_body_bytes = max_body_bytes
        self._max_form_bytes = mount.max_upload_bytes + _FORM_BYTES
        self._client = None if upstream is None else ProxyClient(upstream, uploads)

    def answers(self, path: str) -> bool:
        """Whether a path belongs to the mount."""
        prefix = self._mount.prefix
        inside = path == prefix or path.startswith(f"{prefix}/")
        return inside and path not in self._mount.own

    async def forward(self, exchange: Exchange) -> None:
        """Lets the other deployment answer.

        Raises:
            FeatureOff: The deployment is off.
        """
        exchange.endpoint = self._endpoint
        if self._client is None:
            raise self._mount.off_error(self._mount.off)
        limit = self._max_form_bytes if exchange.has_form else self._max_body_bytes
        await self._client.forward(exchange, max_bytes=limit)
