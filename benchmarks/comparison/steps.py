"""The order in which a run measures: a list of steps, made before anything starts. Pure.

Ours comes first, since the rates of the open loop are shares of its capacity; the others
follow in an order shuffled again for each repeat. The bare engine runs at the start, in the
middle and at the end of each model, so that a machine that slows down shows.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from benchmarks.comparison.catalogue import Peer, by_name
from benchmarks.comparison.record import CACHED, CLOSED, OPEN, Case
from benchmarks.comparison.scope import DEADLINE_MS, SATURATED, Scope
from benchmarks.comparison.workloads import REAL, SEED
from benchmarks.harness.models import MODELS

BARE, SEARCH, VISIT = "bare", "search", "visit"
DEFAULT, USUAL, BEST = "default", "usual", "best"
OURS_BOOT_S, PEER_BOOT_S = 30.0, 5.0


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
        role: ``default``, ``usual`` or ``best``.
        cases: What a visit measures; ``peer`` in them is filled in where ``rank`` tells it.
        when: Of the bare engine: ``start``, ``middle`` or ``end``.
    """

    kind: str
    model: str
    estimate_s: float
    peer: str = ""
    rank: int = 0
    role: str = ""
    cases: tuple[Case, ...] = ()
    when: str = ""

    def __str__(self) -> str:
        if self.kind == BARE:
            return f"{self.model}: bare engine, {self.when}"
        who = self.peer or f"peer of rank {self.rank}"
        if self.kind == SEARCH:
            return f"{self.model}: {who}, search of its best setting"
        first = self.cases[0]
        again = f", repeat {first.repeat + 1}" if first.repeat else ""
        return f"{self.model}: {who}, {self.role}, {first.workload}, {first.load} loop{again}"


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
    yield Step(BARE, model, bare_s, when="start")
    if REAL in workloads:
        for repeat in range(scope.repeats):
            yield from _on_real(model, scope, peers, repeat)
    for workload in workloads:
        if workload != REAL:
            for peer in peers:
                role = DEFAULT if peer.is_ours else BEST
                yield _closed(Case(model, peer.name, role, workload, CLOSED, SATURATED), scope)
    yield Step(BARE, model, bare_s, when="middle")
    if REAL in workloads and model in scope.open_models:
        others = 0
        for peer in peers:
            if peer.is_ours:
                yield _open(model, peer, 0, scope)
            elif (others := others + 1) <= scope.open_peers:
                yield _open(model, None, others, scope)
        yield Step(BARE, model, bare_s, when="end")


def _on_real(model: str, scope: Scope, peers: Sequence[Peer], repeat: int) -> Iterator[Step]:
    def closed(peer: Peer, role: str) -> Step:
        case = Case(model, peer.name, role, REAL, CLOSED, SATURATED, repeat=repeat)
        return _closed(case, scope)

    for peer in peers:
        if peer.is_ours:
            yield closed(peer, DEFAULT)
    rivals = [peer for peer in peers if not peer.is_ours]
    for peer in random.Random(f"{SEED} {model} {repeat}").sample(rivals, len(rivals)):
        yield closed(peer, USUAL)
        # The usual setting has just been measured: only the others are tried.
        others = len(peer.grid(2, short=scope.short_grid)) - 1
        if others and model in scope.grid_models and repeat == 0:
            yield Step(SEARCH, model, others * (PEER_BOOT_S + scope.search_s + 2), peer.name)
        if others:
            yield closed(peer, BEST)


def _closed(case: Case, scope: Scope) -> Step:
    cases, seconds = [case], scope.closed_s
    peer = by_name(case.peer)
    if case.workload == REAL and case.model in scope.single_models:
        cases.append(replace(case, concurrency=1))
        seconds += scope.single_s
    if case.workload == REAL and peer.is_ours and case.model == MODELS[0]:
        cases.append(replace(case, load=CACHED))
        seconds += scope.closed_s
    boot_s = OURS_BOOT_S if peer.is_ours else PEER_BOOT_S
    return Step(
        VISIT,
        case.model,
        boot_s + seconds + 3,
        case.peer,
        role=case.role,
        cases=tuple(cases),
    )


def _open(model: str, peer: Peer | None, rank: int, scope: Scope) -> Step:
    name, role = (peer.name, DEFAULT) if peer else ("", BEST)
    deadlines = (0, DEADLINE_MS) if peer and peer.wire.deadline_header else (0,)
    cases = tuple(
        Case(model, name, role, REAL, OPEN, factor=factor, deadline_ms=deadline_ms)
        for deadline_ms in deadlines
        for factor in scope.factors
        if not deadline_ms or factor > 1.0
    )
    boot_s = OURS_BOOT_S if peer else PEER_BOOT_S
    seconds = len(cases) * (scope.open_s + 3)
    return Step(VISIT, model, boot_s + seconds, name, rank, role, cases)
