"""How much ``--quick`` (a smoke test), ``make bench`` and ``make bench-full`` measure. Pure."""

from dataclasses import dataclass

from benchmarks.comparison.workloads import REAL, WORKLOADS
from benchmarks.harness.models import MINILM, MODELS

SATURATED = 64
# Rates of the open loop, over the pace of the bare engine.
FACTORS = (0.27, 0.43, 0.53, 0.7, 1.0, 1.5, 2.0, 3.0)
HALF = 0.5
DEADLINE_MS = 100


@dataclass(frozen=True, slots=True)
class Scope:
    """What is measured and for how long.

    Attributes:
        name: In the raw file.
        models: In order.
        workloads: Closed loops are run on each; the open loop and the grid on ``real``.
        short_grid: Three settings for each peer instead of all.
        grid_models: Models for which the best setting is searched; others take the first
            model's winner.
        turns: How often systems take turns: ours, the fastest peer, ours, the next one, again.
        turn_peers: This many peers with most throughput take part.
        turn_s: Seconds of each load of a turn: half load, one connection, saturated.
        closed_s: Seconds of a saturated closed loop.
        open_s: Seconds of each rate; 0 for no open loop.
        open_models: Models with an open loop.
        open_peers: Peers in the open loop besides ours: this many with most throughput.
        factors: Rates of the open loop over the pace of the bare engine.
        search_s: Seconds for each setting of a grid.
        warm_up_texts: Sent before anything counts.
        bare_texts: For each pace of the bare engine, at MiniLM's size.
    """

    name: str
    models: tuple[str, ...]
    workloads: tuple[str, ...]
    short_grid: bool
    grid_models: tuple[str, ...]
    turns: int
    turn_peers: int
    turn_s: float
    closed_s: float
    open_s: float
    open_models: tuple[str, ...]
    open_peers: int
    factors: tuple[float, ...]
    search_s: float
    warm_up_texts: int
    bare_texts: int


BENCH = Scope(
    name="bench",
    models=MODELS,
    workloads=(REAL,),
    short_grid=True,
    grid_models=(MINILM,),
    turns=5,
    turn_peers=2,
    turn_s=5.0,
    closed_s=5.0,
    open_s=4.0,
    open_models=(MINILM,),
    open_peers=3,
    factors=FACTORS,
    search_s=2.5,
    warm_up_texts=200,
    bare_texts=1_200,
)
FULL = Scope(
    name="bench-full",
    models=MODELS,
    workloads=WORKLOADS,
    short_grid=False,
    grid_models=MODELS,
    turns=9,
    turn_peers=2,
    turn_s=10.0,
    closed_s=10.0,
    open_s=10.0,
    open_models=MODELS,
    open_peers=99,
    factors=FACTORS,
    search_s=4.0,
    warm_up_texts=400,
    bare_texts=3_000,
)
QUICK = Scope(
    name="quick",
    models=(MINILM,),
    workloads=(REAL,),
    short_grid=True,
    grid_models=(MINILM,),
    turns=1,
    turn_peers=2,
    turn_s=2.0,
    closed_s=2.0,
    open_s=1.5,
    open_models=MODELS,
    open_peers=1,
    factors=(0.53, 2.0),
    search_s=1.5,
    warm_up_texts=40,
    bare_texts=200,
)
SCOPES = {scope.name: scope for scope in (BENCH, FULL, QUICK)}
