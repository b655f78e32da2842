"""The controller against a fleet that misbehaves: nothing bad gets into the routing table."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from front import LIVE

from configs.schema.registry import RolloutConfig
from deployments.payloads import Probe
from deployments.rollout.controller import RolloutController
from deployments.versions import RoutingTable, ServedVersion, TrafficSlot
from registry.errors import BackendUnavailable, IntegrityError
from registry.lifecycle.alias_watcher import AliasAssignment

NEXT = replace(LIVE, version=4, digest="cd" * 32)
NOW = {"champion": AliasAssignment(LIVE.version, LIVE.digest, 1.0)}
MOVED = {"champion": AliasAssignment(NEXT.version, NEXT.digest, 1.0)}


def probe(*, flipped: bool = False, text_s: float = 0.002, n_labels: int = 2) -> Probe:
    scores = np.tile(np.array([0.1, 0.9], dtype=np.float32), (16, 1))
    if n_labels == 3:
        scores = np.tile(np.array([0.1, 0.8, 0.1], dtype=np.float32), (16, 1))
    return Probe(scores[:, ::-1] if flipped else scores, text_s)


class Fleet:
    def __init__(self) -> None:
        self.done: list[tuple[str, object]] = []
        self.probed: list[str] = []
        self.probes: dict[str, list[Probe]] = {}
        self.fails: Exception | None = None
        self.delay_s = 0.0

    async def load(self, digest: str) -> None:
        self.done.append(("load", digest))
        await asyncio.sleep(self.delay_s)
        if self.fails is not None:
            raise self.fails

    async def probe(self, digest: str, texts: Sequence[str]) -> list[Probe]:
        assert len(texts) == 16
        self.probed.append(digest)
        return self.probes.get(digest, [probe(), probe()])

    async def route(self, routes: RoutingTable) -> list[int]:
        self.done.append(("route", routes.champion.version))
        return [routes.epoch]

    async def unload(self, digest: str) -> None:
        self.done.append(("unload", digest))


class Bundles:
    """A registry: opens versions, and records rejections."""

    def __init__(self) -> None:
        self.rejected: list[tuple[str, int, str, int]] = []
        self.closed: list[str] = []
        self.fails: Exception | None = None

    def open(self, version: int) -> ServedVersion:
        if self.fails is not None:
            raise self.fails
        return replace(NEXT, version=version)

    def close(self, digest: str) -> None:
        self.closed.append(digest)

    async def reject(self, role: str, version: int, reason: str, champion: int) -> None:
        self.rejected.append((role, version, reason, champion))


def make_controller(
    fleet: Fleet,
    bundles: Bundles,
    first: RoutingTable,
    *,
    drain_s: float = 0.0,
    **limits: Any,
) -> RolloutController:
    return RolloutController(
        fleet,
        bundles,
        bundles.reject,
        first,
        RolloutConfig(**limits),
        alias="champion",
        drain_s=drain_s,
    )


def followed(
    fleet: Fleet, bundles: Bundles, aliases: dict[str, AliasAssignment], **limits: Any
) -> RolloutController:
    async def body() -> RolloutController:
        made = make_controller(fleet, bundles, RoutingTable(1, LIVE), **limits)
        await made.follow(aliases)
        return made

    return asyncio.run(asyncio.wait_for(body(), 10))


def test_a_version_is_loaded_everywhere_before_the_table_changes() -> None:
    fleet, bundles = Fleet(), Bundles()
    controller = followed(fleet, bundles, MOVED)
    assert controller.routes.champion == NEXT
    assert controller.routes.epoch > 1
    assert fleet.done == [("load", NEXT.digest), ("route", 4)]
    asyncio.run(controller.repeat(registry_away=True))
    assert fleet.done[2:] == [("route", 4), ("unload", LIVE.digest)]
    assert bundles.closed == [LIVE.digest]
    assert controller.routes.registry_away
    assert bundles.rejected == []


def test_nothing_happens_when_nothing_changed() -> None:
    fleet = Fleet()
    assert followed(fleet, Bundles(), NOW).routes.epoch == 1
    assert followed(fleet, Bundles(), {}).routes.champion == LIVE
    assert fleet.done == []


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "corrupt": ({"bundles": IntegrityError("bundle file model.onnx has another sha256")}, "sha256"),
    "crashes": ({"fleet": RuntimeError("engine died\ntraceback")}, "RuntimeError: engine died"),
    "slow": ({"probe": probe(text_s=0.02)}, "10 times as long, more than rollout.max_slowdown=5"),
    "flipped": (
        {"probe": probe(flipped=True)},
        "less than rollout.min_golden_agreement=0.7",
    ),
    "other shape": ({"probe": probe(n_labels=3)}, "scores have shape"),
    "no numbers": ({"probe": Probe(np.full((16, 2), np.nan, np.float32), 0.001)}, "no numbers"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("role", ["champion", "challenger"])
def test_a_bad_version_never_gets_a_request(case: str, role: str) -> None:
    how, reason = BAD[case]
    fleet, bundles = Fleet(), Bundles()
    bundles.fails, fleet.fails = how.get("bundles"), how.get("fleet")
    if "probe" in how:
        fleet.probes[NEXT.digest] = [how["probe"]] * 2
    controller = followed(fleet, bundles, {**NOW, role: MOVED["champion"]})
    assert controller.routes == RoutingTable(1, LIVE)
    ((rejected_role, version, told, instead),) = bundles.rejected
    assert (rejected_role, version, instead) == (role, 4, 3)
    assert reason in told
    assert not [step for step in fleet.done if step[0] == "route"]


def test_replicas_that_disagree_are_an_objection() -> None:
    fleet, bundles = Fleet(), Bundles()
    fleet.probes[NEXT.digest] = [probe(), probe(flipped=True)]
    followed(fleet, bundles, MOVED)
    assert "replicas disagree" in bundles.rejected[0][2]


def test_limits_are_settings() -> None:
    slow, flipped = Fleet(), Fleet()
    slow.probes[NEXT.digest] = [probe(text_s=0.02)]
    flipped.probes[NEXT.digest] = [probe(flipped=True)]
    assert followed(slow, Bundles(), MOVED, max_slowdown=20).routes.champion == NEXT
    assert followed(flipped, Bundles(), MOVED, min_golden_agreement=0).routes.champion == NEXT

    late, bundles = Fleet(), Bundles()
    late.delay_s = 0.3
    assert followed(late, bundles, MOVED, ack_timeout_ms=100).routes.champion == LIVE
    assert "ready in time, rollout.ack_timeout_ms=100" in bundles.rejected[0][2]


def test_a_shadow_may_be_slow_and_different_but_not_broken() -> None:
    fleet, bundles = Fleet(), Bundles()
    fleet.probes[NEXT.digest] = [probe(flipped=True, text_s=0.1)]
    controller = followed(fleet, bundles, {**NOW, "shadow": AliasAssignment(4, NEXT.digest, 0.5)})
    assert controller.routes.shadow == TrafficSlot(NEXT, 0.5)
    assert bundles.rejected == []


def test_mlflow_being_away_refuses_nobody() -> None:
    bundles = Bundles()
    bundles.fails = BackendUnavailable("away")
    with pytest.raises(BackendUnavailable):
        followed(Fleet(), bundles, MOVED)
    assert bundles.rejected == []


def test_a_last_known_version_is_known_again_when_mlflow_is_back() -> None:
    async def body() -> None:
        fleet = Fleet()
        first = RoutingTable(1, replace(LIVE, source="last_known"))
        controller = make_controller(fleet, Bundles(), first)
        await controller.follow(NOW)
        assert controller.routes.champion == LIVE
        assert fleet.done == [("route", 3)]

    asyncio.run(body())


def test_another_weight_is_a_new_table_without_loading() -> None:
    async def body() -> None:
        fleet = Fleet()
        first = RoutingTable(1, LIVE, challenger=TrafficSlot(NEXT, 0.1))
        controller = make_controller(fleet, Bundles(), first)
        await controller.follow({**NOW, "challenger": AliasAssignment(4, NEXT.digest, 0.2)})
        assert controller.routes.challenger == TrafficSlot(NEXT, 0.2)
        assert fleet.done == [("route", 3)]

    asyncio.run(body())


def test_what_is_prepared_is_loaded_once_and_unloaded_if_nobody_is_routed_there() -> None:
    async def body() -> None:
        fleet, bundles = Fleet(), Bundles()
        made = make_controller(fleet, bundles, RoutingTable(1, LIVE))
        await made.prepare({**NOW, "shadow": AliasAssignment(4, NEXT.digest, 1.0)})
        assert fleet.done == [("load", NEXT.digest)]
        await made.repeat(registry_away=False)
        assert fleet.done[1:] == [("route", 3), ("unload", NEXT.digest)]
        fleet.fails = RuntimeError("engine died")
        await made.prepare(MOVED)
        bundles.fails = IntegrityError("damaged")
        await made.prepare(MOVED)
        assert bundles.rejected == []

    asyncio.run(body())


def test_what_was_found_while_a_move_was_judged_is_not_asked_again() -> None:
    async def body() -> None:
        fleet, bundles = Fleet(), Bundles()
        made = make_controller(fleet, bundles, RoutingTable(1, LIVE), drain_s=60)
        await made.prepare(MOVED)
        assert made.routes.champion == LIVE
        bundles.fails = BackendUnavailable("away")
        await made.follow(MOVED)
        assert made.routes.champion == NEXT
        assert fleet.done == [("load", NEXT.digest), ("route", 4)]
        assert fleet.probed == [NEXT.digest, LIVE.digest]
        assert list(made.steps.seconds) == ["open", "load", "probe", "route"]

    asyncio.run(body())


def test_what_was_found_wrong_is_acted_on_in_the_same_look_only() -> None:
    async def body() -> None:
        fleet, bundles = Fleet(), Bundles()
        made = make_controller(fleet, bundles, RoutingTable(1, LIVE), drain_s=60)
        fleet.fails = RuntimeError("engine died")
        await made.prepare(MOVED)
        assert bundles.rejected == []
        fleet.fails = None
        await made.follow(MOVED)
        assert [reason for *_, reason, _ in bundles.rejected] == [
            "a replica failed with it: RuntimeError: engine died"
        ]
        assert made.routes.champion == LIVE
        # Somebody repaired it and moves the alias again.
        await made.prepare(MOVED)
        await made.follow(MOVED)
        assert made.routes.champion == NEXT

    asyncio.run(body())


def test_a_challenger_that_becomes_champion_is_probed_while_it_is_judged() -> None:
    async def body() -> None:
        fleet = Fleet()
        first = RoutingTable(1, LIVE, challenger=TrafficSlot(NEXT, 0.1))
        made = make_controller(fleet, Bundles(), first)
        await made.prepare(MOVED)
        assert fleet.probed == [NEXT.digest, LIVE.digest]
        await made.repeat(registry_away=False)
        assert ("unload", NEXT.digest) not in fleet.done
        # Nobody new: nothing to prepare.
        fleet.probed.clear()
        await made.prepare({**NOW, "challenger": AliasAssignment(4, NEXT.digest, 0.9)})
        assert fleet.probed == []

    asyncio.run(body())
