"""Lets clients wait for changes of any model's aliases. Lives in the Registry deployment."""

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from registry.lifecycle.alias_watcher import Aliases


class ChangeFeed:
    """The latest aliases of all models, and a revision that changes with them. One event loop."""

    def __init__(self) -> None:
        # Tells revisions of this process from those of the one before.
        self._boot = uuid.uuid4().hex[:8]
        self._count = 0
        self._places: Aliases = {}
        self._changed = asyncio.Condition()

    @property
    def revision(self) -> str:
        """An opaque string; it stays the same until something changes."""
        return f"{self._boot}-{self._count}"

    @property
    def places(self) -> Aliases:
        """The aliases that were published last."""
        return self._places

    async def publish(self, places: Aliases) -> bool:
        """Publishes aliases; True, and a new revision, when they differ from the last ones."""
        if places == self._places and self._count:
            return False
        async with self._changed:
            self._places = places
            self._count += 1
            self._changed.notify_all()
        return True

    async def wait(self, since: str | None, timeout_s: float) -> tuple[str, Mapping[str, Any]]:
        """The revision and aliases, once the revision is not ``since`` or the time is over."""
        try:
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(lambda: since != self.revision)
        except TimeoutError:
            pass
        shown = {
            name: {alias: asdict(place) for alias, place in aliases.items()}
            for name, aliases in self._places.items()
        }
        return self.revision, shown
