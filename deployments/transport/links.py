"""Connections to all replicas of a deployment, kept up to date."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from deployments.telemetry.background import keep_running
from deployments.transport.connection import Connection
from deployments.transport.endpoint import Address
from deployments.transport.wire import Header

_log = logging.getLogger("ray.serve.sentigraph")
# A replica that is new is found within this time; one that went, at once.
_LOOK_S = 5.0
_LOOK_AGAIN_S = 0.25
# Each replica answers by a call through Ray: with many, they are asked less often.
_LOOK_EACH_S = 0.1
_ANSWER_S = 5.0
_START_S = 1.0
# Longer than a machine that is merely busy takes to answer.
_SILENT_S = 5.0

Discover = Callable[[], Awaitable[Sequence[Address]]]


class Link:
    """A connection, and the batches that may still be sent to it.

    Attributes:
        connection: To one replica.
        free: Batches that it would take now.
        unanswered_since_s: When the replica was asked whether it answers, and has not yet;
            0 where it has.
    """

    def __init__(self, connection: Connection, credits_: int) -> None:
        self.connection = connection
        self.free = credits_
        self.unanswered_since_s = 0.0

    @property
    def lost(self) -> bool:
        """Whether the replica is gone."""
        return self.connection.lost

    def check(self) -> None:
        """Asks the replica whether it answers, unless it still has to."""
        if not self.unanswered_since_s:
            self.unanswered_since_s = time.monotonic()
            self.connection.ask("ping", {}).add_done_callback(self._answered)

    def _answered(self, answer: "asyncio.Future[tuple[Header, bytes]]") -> None:
        # A lost connection is no silence; its replica is taken out of the links.
        answer.exception()
        self.unanswered_since_s = 0.0


class Links:
    """Finds replicas through Ray and connects to each. For one event loop."""

    def __init__(
        self,
        discover: Discover,
        node: str,
        *,
        credits_: int,
        on_link: Callable[[Link], None] = lambda link: None,
        on_lost: Callable[[Link], None] = lambda link: None,
    ) -> None:
        """Connects to nothing yet.

        Args:
            discover: Asks all replicas where they are.
            node: Of this replica.
            credits_: Batches in flight to one replica.
            on_link: Called for each new one.
            on_lost: Called when one ends.
        """
        self._discover = discover
        self._node = node
        self._credits = credits_
        self._on_link = on_link
        self._on_lost = on_lost
        self._links: dict[str, Link] = {}
        self._changed, self._looked = asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._told = False

    @property
    def all(self) -> list[Link]:
        """Those that stand."""
        return list(self._links.values())

    def silent(self) -> dict[str, float]:
        """Replicas that do not answer now, and for how many seconds; one that is slow is none."""
        now_s = time.monotonic()
        waits = {
            name: now_s - link.unanswered_since_s
            for name, link in self._links.items()
            if link.unanswered_since_s
        }
        return {name: wait_s for name, wait_s in waits.items() if wait_s >= _SILENT_S}

    async def start(self) -> None:
        """Connects to replicas, if they answer soon, and goes on looking for others."""
        self._task = keep_running(self._keep, "looking for replicas")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._looked.wait(), _START_S)

    def close(self) -> None:
        """Ends all connections."""
        if self._task is not None:
            self._task.cancel()
        for link in self.all:
            link.connection.close()

    async def look(self) -> bool:
        """Asks once for replicas and connects to new ones; whether all of that went well.

        Replicas that are being stopped are no longer found. They go on answering, and are left
        once there is another one.
        """
        try:
            addresses = await asyncio.wait_for(self._discover(), _ANSWER_S)
        except Exception:  # noqa: BLE001  (one that dies or hangs answers this for all)
            return False
        new = [address for address in addresses if address.replica not in self._links]
        found = await asyncio.gather(*map(self._connect, new))
        running = {address.replica for address in addresses}
        if running & self._links.keys():
            for name in self._links.keys() - running:
                self._links[name].connection.close()
        return all(found)

    async def _connect(self, address: Address) -> bool:
        def lost() -> None:
            link = self._links.pop(address.replica, None)
            if link is not None:
                self._changed.set()
                self._on_lost(link)

        try:
            connection = await Connection.open(address, self._node, lost)
        except (OSError, TimeoutError):
            return False
        except Exception:  # noqa: BLE001  (texts take Ray's handles; somebody has to know why)
            if not self._told:
                self._told = True
                _log.exception("no connection to a replica: texts take Ray's handles")
            return False
        link = self._links[address.replica] = Link(connection, self._credits)
        self._on_link(link)
        return True

    async def _keep(self) -> None:
        while True:
            for link in self.all:
                link.check()
            well = await self.look() and bool(self._links)
            self._looked.set()
            with contextlib.suppress(TimeoutError):
                pause_s = max(_LOOK_S, _LOOK_EACH_S * len(self._links)) if well else _LOOK_AGAIN_S
                await asyncio.wait_for(self._changed.wait(), pause_s)
            self._changed.clear()
