"""Brings the graph to the desired versions without one failed request.

resolve ─▶ fetch and verify ─▶ load ─▶ probe ─▶ new table to every ingress ─▶ drain ─▶ unload
└──────── prepare, while the change is judged ─┘

A version that any replica rejects never gets a request: the table stays as it is and the
version loses its role, with the reason. Plain asyncio; the replicas and the registry come in
as objects.
"""

import asyncio
import dataclasses
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from configs.schema.registry import RolloutConfig
from deployments.payloads import Probe
from deployments.rollout.acceptance import GOLDEN_TEXTS, rejection_reason
from deployments.rollout.bundle_server import BundleServer
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

    async def unload(self, digest: str) -> None:
        """Frees a bundle everywhere."""
        ...


Reject = Callable[[str, int, str, int], Awaitable[None]]
"""Takes a role from a version, given the role, the version, the reason and the champion."""


class Rejected(Exception):
    """A version may not serve; the message says why."""


_Key = tuple[str, int, str]
"""Role, version and digest, which a probe result is valid for."""


@dataclass(slots=True)
class _Drained:
    """A bundle without traffic, and when the last request to it has ended."""

    until_s: float


class RolloutController:
    """Keeps the graph at the desired versions. Call from one task.

    Attributes:
        routes: The present table.
        steps: Seconds of the present round; the reconciler sets a new one for each round.
    """

    def __init__(
        self,
        fleet: Fleet,
        bundles: BundleServer,
        reject: Reject,
        first: RoutingTable,
        limits: RolloutConfig,
        *,
        alias: str,
        drain_s: float,
    ) -> None:
        """Starts from a table that the fleet already has.

        Args:
            fleet: All replicas.
            bundles: Bundles that replicas can read.
            reject: Records in the registry that a version may not have its role.
            first: The present table.
            limits: What a probe tolerates, how long replicas may take.
            alias: The alias that names the champion here.
            drain_s: Longest time that a request may run after its version left the table.
        """
        self._fleet = fleet
        self._bundles = bundles
        self._reject = reject
        self._limits = limits
        self._alias = alias
        self._drain_s = drain_s
        self._draining: dict[str, _Drained] = {}
        self._rejected: set[_Key] = set()
        self._examined: dict[_Key, ServedVersion | Rejected] = {}
        self.routes = first
        self.steps = StepTimes()

    async def follow(self, aliases: Mapping[str, AliasAssignment]) -> None:
        """Makes the fleet serve what ``aliases`` name; a rejected version changes nothing.

        Raises:
            BackendUnavailable: MLflow does not answer; call again later.
        """
        champion = self.routes.champion
        held = aliases.get(self._alias)
        if held is not None and _is(champion, held):
            champion = dataclasses.replace(champion, source="registry")
        elif held is not None:
            champion = await self._admitted("champion", held) or champion
        challenger = await self._slot("challenger", aliases.get("challenger"))
        shadow = await self._slot("shadow", aliases.get("shadow"))
        now = dataclasses.replace(
            self.routes, champion=champion, challenger=challenger, shadow=shadow
        )
        if now != self.routes:
            await self._flip(now)

    async def prepare(self, aliases: Mapping[str, AliasAssignment]) -> None:
        """Loads and probes what ``follow`` will need, while the change is still judged.

        It changes no table and rejects nothing: ``follow`` does, in the same round.
        """
        self._examined.clear()
        for role, held in self._new(aliases):
            key = (role, held.version, held.digest)
            try:
                self._examined[key] = await self._examine(role, held)
            except BackendUnavailable as error:
                _log.debug("version %s not prepared: %s", held.version, error)

    async def repeat(self, *, registry_away: bool) -> None:
        """Re-sends the routing table to new ingress replicas and unloads drained bundles."""
        self.routes = dataclasses.replace(self.routes, registry_away=registry_away)
        await self._fleet.route(self.routes)
        now = time.monotonic()
        for digest in [d for d, drained in self._draining.items() if drained.until_s <= now]:
            del self._draining[digest]
            await self._fleet.unload(digest)
            self._bundles.close(digest)

    async def _slot(self, role: str, held: AliasAssignment | None) -> TrafficSlot | None:
        present: TrafficSlot | None = getattr(self.routes, role)
        if held is None or held.weight == 0:
            return None
        if present is not None and _is(present.model, held):
            return TrafficSlot(present.model, held.weight)
        model = await self._admitted(role, held)
        return None if model is None else TrafficSlot(model, held.weight)

    def _new(self, aliases: Mapping[str, AliasAssignment]) -> Iterator[tuple[str, AliasAssignment]]:
        """Roles whose version in the table is not the desired one."""
        present = {CHAMPION: self.routes.champion}
        present |= {r: slot.model for r in SLOTS if (slot := getattr(self.routes, r)) is not None}
        for role in (CHAMPION, *SLOTS):
            held = aliases.get(self._alias if role == CHAMPION else role)
            if held is None or held.weight == 0:
                continue
            known = role in present and _is(present[role], held)
            if not known and (role, held.version, held.digest) not in self._rejected:
                yield role, held

    async def _admitted(self, role: str, held: AliasAssignment) -> ServedVersion | None:
        """The version, loaded and probed everywhere; None, and rejected, if it may not serve."""
        key = (role, held.version, held.digest)
        if key in self._rejected:
            return None
        found = self._examined.pop(key, None) or await self._examine(role, held)
        if isinstance(found, ServedVersion):
            return found
        reason = str(found)
        _log.warning("version %s may not be %s: %s", held.version, role, reason)
        self._rejected.add(key)
        await self._reject(role, held.version, reason, self.routes.champion.version)
        self._rejected.discard(key)
        return None

    async def _examine(self, role: str, held: AliasAssignment) -> ServedVersion | Rejected:
        """The version, or why it may not serve.

        Raises:
            BackendUnavailable: MLflow does not answer.
        """
        try:
            return await self._prepared(role, held)
        except Rejected as rejected:
            return rejected

    async def _prepared(self, role: str, held: AliasAssignment) -> ServedVersion:
        try:
            with self.steps.step("open"):
                model = await asyncio.to_thread(self._bundles.open, held.version)
        except BackendUnavailable:
            raise
        except RegistryError as error:
            raise Rejected(error.message) from error
        if model.digest not in self.routes.digests:
            # Unloaded again, unless a table names it by then.
            self._draining.setdefault(model.digest, _Drained(time.monotonic() + self._drain_s))
        try:
            async with asyncio.timeout(self._limits.ack_timeout_ms / 1_000):
                with self.steps.step("load"):
                    await self._fleet.load(model.digest)
                champion = self.routes.champion
                with self.steps.step("probe"):
                    # At the same time, so that both are measured under the same load.
                    probes, references = await asyncio.gather(
                        self._fleet.probe(model.digest, GOLDEN_TEXTS),
                        self._fleet.probe(champion.digest, GOLDEN_TEXTS),
                    )
        except TimeoutError as error:
            limit = f"rollout.ack_timeout_ms={self._limits.ack_timeout_ms}"
            raise Rejected(f"not every replica was ready in time, {limit}") from error
        except Exception as error:
            # Any error of a replica rejects the version only; serving goes on.
            raise Rejected(f"a replica failed with it: {_first_line(error)}") from error
        reason = rejection_reason(
            model, probes, champion, references, self._limits, answers=role != "shadow"
        )
        if reason is not None:
            raise Rejected(reason)
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


def _is(model: ServedVersion, held: AliasAssignment) -> bool:
    return (model.version, model.digest) == (held.version, held.digest)


def _first_line(error: Exception) -> str:
    cause = getattr(error, "cause", None)
    shown = cause if isinstance(cause, BaseException) else error
    lines = str(shown).strip().splitlines()
    return f"{type(shown).__name__}: {lines[0][:200] if lines else ''}"
