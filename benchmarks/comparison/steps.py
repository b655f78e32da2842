"""The order in which a run measures: a list of steps, made before anything starts. Pure.

Each peer's best setting is searched first, then each system is measured once. Those that matter
most, ours and the fastest peers, then take turns: the machine's pace moves by more than what is
between them, so only figures of the same minutes are compared. The bare engine runs between.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.comparison.catalogue import Peer
from benchmarks.comparison.record import CACHED, CLOSED, OPEN, Case
from benchmarks.comparison.scope import DEADLINE_MS, HALF, SATURATED, Scope
from benchmarks.comparison.workloads import REAL, SEED
from benchmarks.harness.models import MODELS

BARE, SEARCH, VISIT = "bare", "search", "visit"
OURS_BOOT_S, PEER_BOOT_S = 30.0, 5.0
_BARE_S = 8.0


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do.

    Attributes:
        kind: ``bare``, ``search`` (the best setting of a peer) or ``visit`` (one server, started
            once, and its cases).
        model: Which.
        estimate_s: How long it may take.
        peer: Name; empty for the bare engine and for a peer that is known by ``rank`` only.
        rank: 1 for the fastest peer of the closed loops so far, and so on; 0 for a named one.
        cases: What a visit measures; ``peer`` in them is filled in where ``rank`` tells it.
        when: Of the bare engine: ``start``, ``middle`` or ``end``.
    """

    kind: str
    model: str
    estimate_s: float
    peer: str = ""
    rank: int = 0
    cases: tuple[Case, ...] = ()
    when: str = ""

    def __str__(self) -> str:
        if self.kind == BARE:
            return f"{self.model}: bare engine, {self.when}"
        who = self.peer or f"peer of rank {self.rank}"
        if self.kind == SEARCH:
            return f"{self.model}: {who}, search of its best setting"
        first = self.cases[0]
        if first.turn:
            return f"{self.model}: {who}, turn {first.turn}"
        return f"{self.model}: {who}, {first.workload}, {first.load} loop"


def steps(
    scope: Scope,
    peers: Sequence[Peer],
    *,
    models: Sequence[str] | None = None,
    workloads: Sequence[str] | None = None,
) -> list[Step]:
    """All steps of a run in their order; ``models`` and ``workloads`` narrow the scope."""
    return [
        step
        for model in (models or scope.models)
        for step in _of_model(model, scope, peers, workloads or scope.workloads)
    ]


def _of_model(
    model: str, scope: Scope, peers: Sequence[Peer], workloads: Sequence[str]
) -> Iterator[Step]:
    bare_s = 15.0 * scope.bare_texts / 1_000
    ours = [peer for peer in peers if peer.is_ours]
    rivals = [peer for peer in peers if not peer.is_ours]
    yield Step(BARE, model, bare_s, when="start")
    for workload in workloads:
        for peer in ours + random.Random(f"{SEED} {model} {workload}").sample(rivals, len(rivals)):
            settings = len(peer.grid(2, short=scope.short_grid))
            if (
                not peer.is_ours
                and settings > 1
                and workload == REAL
                and model in scope.grid_models
            ):
                search_s = settings * (PEER_BOOT_S + scope.search_s + 2)
                yield Step(SEARCH, model, search_s, peer.name)
            yield _closed(model, peer, workload, scope)
    yield Step(BARE, model, bare_s, when="middle")
    if REAL in workloads:
        yield from _in_turn(model, scope, ours, len(rivals))
    if REAL in workloads and model in scope.open_models:
        for peer in ours:
            yield _open(model, peer, 0, scope)
        for rank in range(1, min(scope.open_peers, len(rivals)) + 1):
            yield _open(model, None, rank, scope)
    yield Step(BARE, model, bare_s, when="end")


def _closed(model: str, peer: Peer, workload: str, scope: Scope) -> Step:
    cases = [Case(model, peer.name, workload, CLOSED, SATURATED)]
    if workload == REAL and peer.is_ours and model == MODELS[0]:
        cases.append(Case(model, peer.name, workload, CACHED, SATURATED))
    return _visit(model, peer, 0, cases, scope.closed_s)


def _in_turn(model: str, scope: Scope, ours: Sequence[Peer], rivals: int) -> Iterator[Step]:
    """Ours and the fastest peers in turn: ours, the fastest, ours, the next, and again."""
    ranks = list(range(1, min(scope.turn_peers, rivals) + 1))
    for turn in range(1, scope.turns + 1):
        for place in range(max(len(ours), len(ranks))):
            for peer in ours[place : place + 1]:
                yield _turn(model, peer, 0, turn, scope)
            for rank in ranks[place : place + 1]:
                yield _turn(model, None, rank, turn, scope)


def _turn(model: str, peer: Peer | None, rank: int, turn: int, scope: Scope) -> Step:
    name = peer.name if peer else ""
    cases = (
        Case(model, name, REAL, CLOSED, 1, turn=turn),
        Case(model, name, REAL, OPEN, factor=HALF, turn=turn),
        Case(model, name, REAL, CLOSED, SATURATED, turn=turn),
    )
    return _visit(model, peer, rank, cases, scope.turn_s)


def _open(model: str, peer: Peer | None, rank: int, scope: Scope) -> Step:
    name = peer.name if peer else ""
    deadlines = (0, DEADLINE_MS) if peer and peer.wire.deadline_header else (0,)
    cases = [
        Case(model, name, REAL, OPEN, factor=factor, deadline_ms=deadline_ms)
        for deadline_ms in deadlines
        for factor in scope.factors
        if not deadline_ms or factor >= 1.0
    ]
    return _visit(model, peer, rank, cases, scope.open_s + 3)


def _visit(model: str, peer: Peer | None, rank: int, cases: Sequence[Case], each_s: float) -> Step:
    boot_s = OURS_BOOT_S if peer and peer.is_ours else PEER_BOOT_S
    estimate_s = boot_s + len(cases) * each_s + 3 + _BARE_S
    return Step(VISIT, model, estimate_s, peer.name if peer else "", rank, tuple(cases))
