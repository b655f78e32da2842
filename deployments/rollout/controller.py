"""Brings what MLflow says to every replica, without one failed request.

resolve ─▶ fetch and verify ─▶ load beside ─▶ probe ─▶ new table to every ingress ─▶ drain ─▶ let go
└──────────── prepare, while the move is judged ────┘

A version that any replica objects to never gets a request: the table stays as it is and
the version loses its place, with the reason. Plain asyncio; the fleet and the registry
come in as objects.
"""

import asyncio
import dataclasses
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from configs.schema.registry import RolloutConfig
from deployments.payloads import Probe
from deployments.rollout.acceptance import GOLDEN_TEXTS, rejection_reason
from deployments.rollout.step_times import StepTimes
from deployments.versions import RoutingTable, ServedVersion, TrafficSlot
from registry.errors import BackendUnavailable, RegistryError
from registry.lifecycle.alias_watcher import AliasAssignment
from registry.lifecycle.state import CHAMPION, SLOTS

_log = logging.getLogger("ray.serve")


class Fleet(Protocol):
    """All replicas of the graph; every call reaches each of them and raises if one fails."""

    async def load(self, digest: str) -> None:
        """Opens and warms up a bundle everywhere."""
        ...

    async def probe(self, digest: str, texts: Sequence[str]) -> list[Probe]:
        """Scores texts on every model replica."""
        ...

    async def route(self, routes: RoutingTable) -> list[int]:
        """Gives every ingress a table; the epochs that they then have."""
        ...

    async def let_go(self, digest: str) -> None:
        """Frees a bundle everywhere."""
        ...


class VersionSource(Protocol):
    """The registry, as far as the controller needs it."""

    async def open(self, version: int) -> ServedVersion:
        """A version whose files are verified and can be read by replicas from now on."""
        ...

    async def refuse(self, role: str, version: int, reason: str, instead: int) -> None:
        """Takes a place away from a version, with the reason in the audit."""
        ...

    async def forget(self, digest: str) -> None:
        """The bundle's files are not read any more."""
        ...


class Refused(Exception):
    """A version may not go live; the message says why."""


_Key = tuple[str, int, str]
"""Role, version and digest: what was found of one says nothing of another."""


@dataclass(slots=True)
class _Drained:
    """A bundle that nobody is routed to, and when the last request to it is over."""

    until_s: float


class RolloutController:
    """Keeps the graph at what the registry says. Call from one task.

    Attributes:
        routes: The present table.
        steps: Where the seconds of the present look go; whoever looks puts a new one here.
    """

    def __init__(
        self,
        fleet: Fleet,
        truth: VersionSource,
        first: RoutingTable,
        limits: RolloutConfig,
        *,
        alias: str,
        drain_s: float,
    ) -> None:
        """Starts from a table that the fleet already has.

        Args:
            fleet: All replicas.
            truth: The registry.
            first: The present table.
            limits: What a probe tolerates, how long replicas may take.
            alias: Whose version is the champion here.
            drain_s: Longest time that a request may still be under way.
        """
        self._fleet = fleet
        self._truth = truth
        self._limits = limits
        self._alias = alias
        self._drain_s = drain_s
        self._draining: dict[str, _Drained] = {}
        self._refused: set[_Key] = set()
        self._examined: dict[_Key, ServedVersion | Refused] = {}
        self.routes = first
        self.steps = StepTimes()

    async def follow(self, places: Mapping[str, AliasAssignment]) -> None:
        """Makes the fleet serve ``places``; what is refused keeps the table as it is.

        Raises:
            BackendUnavailable: MLflow does not answer; call again later.
        """
        champion = self.routes.champion
        place = places.get(self._alias)
        if place is not None and _is(champion, place):
            champion = dataclasses.replace(champion, source="registry")
        elif place is not None:
            champion = await self._admitted("champion", place) or champion
        challenger = await self._slot("challenger", places.get("challenger"))
        shadow = await self._slot("shadow", places.get("shadow"))
        now = dataclasses.replace(
            self.routes, champion=champion, challenger=challenger, shadow=shadow
        )
        if now != self.routes:
            await self._flip(now)

    async def prepare(self, places: Mapping[str, AliasAssignment]) -> None:
        """Loads and probes what ``follow`` will need, while somebody judges whether it may go live.

        It changes nothing: what it finds is acted on by ``follow``, in the same look.
        """
        self._examined.clear()
        for role, place in self._new(places):
            key = (role, place.version, place.digest)
            try:
                self._examined[key] = await self._examine(role, place)
            except BackendUnavailable as error:
                _log.debug("version %s not prepared: %s", place.version, error)

    async def repeat(self, *, registry_away: bool) -> None:
        """Gives the table to ingresses that started meanwhile, and frees what has drained."""
        self.routes = dataclasses.replace(self.routes, registry_away=registry_away)
        await self._fleet.route(self.routes)
        now = time.monotonic()
        for digest in [d for d, drained in self._draining.items() if drained.until_s <= now]:
            del self._draining[digest]
            await self._fleet.let_go(digest)
            await self._truth.forget(digest)

    async def _slot(self, role: str, place: AliasAssignment | None) -> TrafficSlot | None:
        present: TrafficSlot | None = getattr(self.routes, role)
        if place is None or place.weight == 0:
            return None
        if present is not None and _is(present.model, place):
            return TrafficSlot(present.model, place.weight)
        model = await self._admitted(role, place)
        return None if model is None else TrafficSlot(model, place.weight)

    def _new(self, places: Mapping[str, AliasAssignment]) -> Iterator[tuple[str, AliasAssignment]]:
        """Roles that another version shall have than the table says."""
        present = {CHAMPION: self.routes.champion}
        present |= {r: slot.model for r in SLOTS if (slot := getattr(self.routes, r)) is not None}
        for role in (CHAMPION, *SLOTS):
            place = places.get(self._alias if role == CHAMPION else role)
            if place is None or place.weight == 0:
                continue
            known = role in present and _is(present[role], place)
            if not known and (role, place.version, place.digest) not in self._refused:
                yield role, place

    async def _admitted(self, role: str, place: AliasAssignment) -> ServedVersion | None:
        """The version, loaded and probed everywhere; None (and told to the registry) if not."""
        key = (role, place.version, place.digest)
        if key in self._refused:
            return None
        found = self._examined.pop(key, None) or await self._examine(role, place)
        if isinstance(found, ServedVersion):
            return found
        reason = str(found)
        _log.warning("version %s may not be %s: %s", place.version, role, reason)
        self._refused.add(key)
        await self._truth.refuse(role, place.version, reason, self.routes.champion.version)
        self._refused.discard(key)
        return None

    async def _examine(self, role: str, place: AliasAssignment) -> ServedVersion | Refused:
        """Raises only what says nothing of the version: that MLflow does not answer."""
        try:
            return await self._prepared(role, place)
        except Refused as refused:
            return refused

    async def _prepared(self, role: str, place: AliasAssignment) -> ServedVersion:
        try:
            with self.steps.step("open"):
                model = await self._truth.open(place.version)
        except BackendUnavailable:
            raise
        except RegistryError as error:
            raise Refused(error.message) from error
        if model.digest not in self.routes.digests:
            # Let go again, unless a table names it by then.
            self._draining.setdefault(model.digest, _Drained(time.monotonic() + self._drain_s))
        try:
            async with asyncio.timeout(self._limits.ack_timeout_ms / 1_000):
                with self.steps.step("load"):
                    await self._fleet.load(model.digest)
                champion = self.routes.champion
                with self.steps.step("probe"):
                    # Side by side, so that both have the same load beside them.
                    probes, references = await asyncio.gather(
                        self._fleet.probe(model.digest, GOLDEN_TEXTS),
                        self._fleet.probe(champion.digest, GOLDEN_TEXTS),
                    )
        except TimeoutError as error:
            limit_s = self._limits.ack_timeout_ms / 1_000
            raise Refused(f"not every replica was ready after {limit_s:g} s") from error
        except Exception as error:
            # Whatever a bundle makes a replica raise: it stays out, and serving goes on.
            raise Refused(f"a replica failed with it: {_first_line(error)}") from error
        reason = rejection_reason(
            model, probes, champion, references, self._limits, answers=role != "shadow"
        )
        if reason is not None:
            raise Refused(reason)
        return model

    async def _flip(self, wanted: RoutingTable) -> None:
        before = self.routes
        epoch = max(time.time_ns() // 1_000_000, before.epoch + 1)
        self.routes = dataclasses.replace(wanted, epoch=epoch)
        for digest in self.routes.digests:
            self._draining.pop(digest, None)
        for digest in before.digests - self.routes.digests:
            self._draining[digest] = _Drained(time.monotonic() + self._drain_s)
        with self.steps.step("route"):
            epochs = await self._fleet.route(self.routes)
        _log.info(
            "routing table changed",
            extra={
                "epoch": epoch,
                "model_version": self.routes.champion.version,
                "ingresses": len(epochs),
                **self.steps.fields(),
            },
        )


def _is(model: ServedVersion, place: AliasAssignment) -> bool:
    return (model.version, model.digest) == (place.version, place.digest)


def _first_line(error: Exception) -> str:
    cause = getattr(error, "cause", None)
    shown = cause if isinstance(cause, BaseException) else error
    lines = str(shown).strip().splitlines()
    return f"{type(shown).__name__}: {lines[0][:200] if lines else ''}"
