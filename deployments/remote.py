"""The ingress's outgoing side: other deployments, as the plain classes behind know them."""

from collections.abc import AsyncIterator, Sequence

from ray.exceptions import RayActorError
from ray.serve.handle import DeploymentHandle

from deployments.errors import NotReady
from deployments.relay import Call, Part


def by_value(handle: DeploymentHandle) -> DeploymentHandle:
    """The handle for hops on the request path: by value, plain pickle between our own replicas.

    Below 1 MB a by-value hop costs half of one through the object store.
    """
    return handle.options(
        _by_reference=False, request_serialization="pickle", response_serialization="pickle"
    )


class RemoteCache:
    """``SharedCache`` in the Cache deployment."""

    def __init__(self, handle: DeploymentHandle) -> None:
        self._get_many = by_value(handle).get_many
        self._put_many = by_value(handle).put_many

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """See ``SharedCache.get_many``."""
        values: list[bytes | None] = await self._get_many.remote(keys)
        return values

    async def put_many(self, entries: Sequence[tuple[bytes, bytes]]) -> None:
        """See ``SharedCache.put_many``."""
        await self._put_many.remote(entries)


class RemoteRoutes:
    """``Far`` in the Registry or the Jobs deployment."""

    def __init__(self, handle: DeploymentHandle, what: str) -> None:
        self._handle = handle
        self._what = what

    async def call(self, call: Call) -> AsyncIterator[Part]:
        """See ``Far.call``."""
        answer = self._handle.options(stream=True).call.remote(call)
        try:
            async for part in answer:
                yield part
        except RayActorError as error:
            raise NotReady(f"{self._what} does not answer; try again in a few seconds") from error
        finally:
            answer.cancel()

    async def push(self, call_id: str, part: bytes, more: bool) -> bool:
        """See ``Far.push``."""
        wanted: bool = await self._handle.push.remote(call_id, part, more)
        return wanted
