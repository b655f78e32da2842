"""Tells everyone who waits that a model's places changed. Lives in the Registry deployment."""

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from registry.lifecycle.alias_watcher import Places


class ChangeFeed:
    """The latest places of all models, and a revision that moves with them. One event loop."""

    def __init__(self) -> None:
        # A revision of another process is never taken for one of ours.
        self._boot = uuid.uuid4().hex[:8]
        self._count = 0
        self._places: Places = {}
        self._changed = asyncio.Condition()

    @property
    def revision(self) -> str:
        """Opaque; equal as long as nothing changed."""
        return f"{self._boot}-{self._count}"

    @property
    def places(self) -> Places:
        """Places as they were published last."""
        return self._places

    async def publish(self, places: Places) -> bool:
        """Takes what the watcher saw; true (and a new revision) when it is something else."""
        if places == self._places and self._count:
            return False
        async with self._changed:
            self._places = places
            self._count += 1
            self._changed.notify_all()
        return True

    async def wait(self, since: str | None, timeout_s: float) -> tuple[str, Mapping[str, Any]]:
        """The present revision and places; waits while ``since`` is still the present one."""
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
