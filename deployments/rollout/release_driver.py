"""Drives an automatic release: counts what replicas observed, and takes the next step.

``reconciler.py`` calls it in each round. What must outlive a restart is in MLflow: the step in
the audit ledger, the counts in a tag. ``registry/releases/decision.py`` decides,
``registry/releases/releases.py`` makes the change.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

from deployments.payloads import Counts, FeedbackResult
from deployments.versions import RoutingTable, TrafficSlot
from registry.errors import ApprovalRequired, Conflict, GateFailed
from registry.lifecycle.state import CHAMPION
from registry.model_registry import ModelRegistry
from registry.policy import ReleasePolicy
from registry.records import Release
from registry.releases.decision import ReleaseDecision, ReleaseProgress, decide
from registry.releases.releases import ACTOR
from registry.releases.sequential_test import PairedCount

_log = logging.getLogger("ray.serve")
# A person's hold or a new policy takes effect within this time; counts are stored as often.
_LOOK_S = 5.0
_ACTOR = "rollout"
_ACCURACY_PROOF = 0.03


class Observers(Protocol):
    """All replicas that take texts from callers; each observes a part of the traffic."""

    async def observed(self, digest: str) -> Sequence[Counts]:
        """What each has counted of a candidate since the last call."""
        ...

    async def judge(self, prediction_id: str, label: str) -> Sequence[FeedbackResult | None]:
        """Has each judge an answer; None from those who do not remember it."""
        ...


class ReleaseDriver:
    """One model's releases. Call from one task."""

    def __init__(
        self,
        name: str,
        alias: str,
        models: ModelRegistry,
        observers: Observers,
        *,
        reviewed: bool = False,
    ) -> None:
        """Reads nothing yet.

        Args:
            name: The served model.
            alias: The alias that names its champion here.
            models: The registry.
            observers: All replicas that take texts from callers.
            reviewed: Whether answers are drawn for review, so that accuracy can be proven.
        """
        self._reviewed = reviewed
        self._name = name
        self._alias = alias
        self._lifecycle = models.lifecycle
        self._releases = models.releases
        self._observers = observers
        self._release: Release | None = None
        self._policy = ReleasePolicy()
        self._progress = ReleaseProgress(0, 0)
        self._missed: Counter[str] = Counter()
        self._looked_s: float | None = None
        self._kept_s = 0.0

    def missed(self, why: str) -> None:
        """Notes that a judged answer counts for nothing in the release under way, if any."""
        if self._release is not None:
            self._missed[why] += 1

    def look_again(self) -> None:
        """Has the next ``tick`` read the release from the registry."""
        self._looked_s = None

    async def tick(self, routes: RoutingTable) -> None:
        """Counts what was observed since the last call, and acts on it.

        Raises:
            RegistryError: MLflow does not answer; counts are kept here until it does.
        """
        now = time.monotonic()
        if self._looked_s is None or (self._release and now - self._looked_s > _LOOK_S):
            await self._look()
        release = self._release
        slot: TrafficSlot | None = getattr(routes, release.slot) if release is not None else None
        if release is None or slot is None or slot.model.version != release.version:
            return
        # With the progress, so that whoever shows the release knows what it waits for.
        proof = _ACCURACY_PROOF if self._reviewed else None
        progress = replace(self._progress.at(release), proof=proof)
        for counts in await self._observers.observed(slot.model.digest):
            progress = progress.plus(release.slot, _tallies(counts))
        missed = {f"missed.{why}": PairedCount(worse=n) for why, n in self._missed.items()}
        progress = progress.plus(release.slot, missed)
        self._missed.clear()
        changed, self._progress = progress != self._progress, progress
        in_step_s = time.time() - release.since_s
        verdict = decide(progress, self._policy, release.steps, in_step_s)
        acts = verdict.action != "wait" and not (release.held and verdict.action != "roll_back")
        if acts or (changed and now - self._kept_s > _LOOK_S):
            await asyncio.to_thread(self._releases.save_progress, self._name, progress)
            self._kept_s = now
        if acts:
            await self._act(release, verdict)

    async def reject(self, role: str, version: int, reason: str, champion: int) -> None:
        """Takes a role from a version that a replica rejected, with the reason in the audit.

        Rolls its release back if it has one; else empties its slot, or restores the champion.

        Args:
            role: The role that the version may not have.
            version: The version.
            reason: Why, in one sentence.
            champion: The version that answers now.

        Raises:
            RegistryError: MLflow does not answer.
        """
        reason = f"version {version}: {reason}"[:500]
        release, _, _ = await asyncio.to_thread(self._releases.status, self._name)
        if release is not None and release.version == version:
            await asyncio.to_thread(self._releases.roll_back, self._name, release, reason, None)
            self.look_again()
        elif role != CHAMPION:
            change = partial(self._lifecycle.set_slot, self._name, role, None)
            await asyncio.to_thread(change, actor=_ACTOR, reason=reason)
        elif self._alias == CHAMPION:
            change = partial(self._lifecycle.rollback, self._name, to=champion)
            await asyncio.to_thread(change, actor=_ACTOR, reason=reason)

    async def _look(self) -> None:
        found = await asyncio.to_thread(self._releases.status, self._name)
        release, problem, policy = found
        self._policy = policy
        if release is not None and problem:
            await asyncio.to_thread(self._releases.abort, self._name, actor=ACTOR, reason=problem)
            release = None
        if release is not None and self._progress.release != release.id:
            self._progress = await asyncio.to_thread(self._releases.progress, self._name)
            self._missed.clear()
        self._release = release
        self._looked_s = time.monotonic()

    async def _act(self, release: Release, verdict: ReleaseDecision) -> None:
        releases, name = self._releases, self._name
        self.look_again()
        try:
            if verdict.action == "roll_back":
                await asyncio.to_thread(releases.roll_back, name, release, verdict.reason, verdict)
            elif verdict.action == "hold":
                reason = verdict.reason
                await asyncio.to_thread(releases.hold, name, actor=ACTOR, reason=reason)
            else:
                await asyncio.to_thread(releases.advance, name, release, verdict)
        except Conflict as conflict:
            # A person was faster; the next tick reads the change.
            _log.info("release not moved on: %s", conflict.message)
        except (GateFailed, ApprovalRequired) as refusal:
            reason = refusal.message
            await asyncio.to_thread(releases.hold, name, actor=ACTOR, reason=reason)
        _log.info(
            "release decided",
            extra={
                "model_version": release.version,
                "step": release.step,
                "action": verdict.action,
            },
        )


def _tallies(counts: Counts) -> Mapping[str, PairedCount]:
    return {name: PairedCount(*three) for name, three in counts.items()}
