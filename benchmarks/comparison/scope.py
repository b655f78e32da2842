"""How much ``--quick`` (a smoke test), ``make bench`` and ``make bench-full`` measure. Pure."""

from dataclasses import dataclass

from benchmarks.comparison.workloads import REAL, WORKLOADS
from benchmarks.harness.models import DISTILBERT, MINILM, MODELS

SATURATED = 64
FACTORS = (0.5, 0.8, 1.0, 1.5, 2.0)
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
        closed_s: Seconds of a saturated closed loop.
        single_s: Seconds of a closed loop with one connection.
        single_models: Models for which the latter is run.
        open_s: Seconds of each rate; 0 for no open loop.
        open_models: Models with an open loop.
        open_peers: Peers in the open loop besides ours: this many with most throughput.
        factors: Rates of the open loop over the capacity of ours.
        search_s: Seconds for each setting of a grid.
        warm_up_texts: Sent before anything counts.
        bare_texts: For each pace of the bare engine, at MiniLM's size.
        repeats: Of everything but the search.
    """

    name: str
    models: tuple[str, ...]
    workloads: tuple[str, ...]
    short_grid: bool
    grid_models: tuple[str, ...]
    closed_s: float
    single_s: float
    single_models: tuple[str, ...]
    open_s: float
    open_models: tuple[str, ...]
    open_peers: int
    factors: tuple[float, ...]
    search_s: float
    warm_up_texts: int
    bare_texts: int
    repeats: int


BENCH = Scope(
    name="bench",
    models=MODELS,
    workloads=(REAL,),
    short_grid=True,
    grid_models=(MINILM,),
    closed_s=5.0,
    single_s=2.0,
    single_models=(MINILM,),
    open_s=4.0,
    open_models=(MINILM,),
    open_peers=3,
    factors=FACTORS,
    search_s=2.5,
    warm_up_texts=200,
    bare_texts=1_200,
    repeats=1,
)
FULL = Scope(
    name="bench-full",
    models=MODELS,
    workloads=WORKLOADS,
    short_grid=False,
    grid_models=MODELS,
    closed_s=10.0,
    single_s=5.0,
    single_models=MODELS,
    open_s=10.0,
    open_models=MODELS,
    open_peers=99,
    factors=FACTORS,
    search_s=4.0,
    warm_up_texts=400,
    bare_texts=3_000,
    repeats=3,
)
QUICK = Scope(
    name="quick",
    models=(MINILM,),
    workloads=(REAL,),
    short_grid=True,
    grid_models=(MINILM,),
    closed_s=2.0,
    single_s=0.7,
    single_models=(MINILM, DISTILBERT),
    open_s=1.5,
    open_models=(MINILM, DISTILBERT),
    open_peers=1,
    factors=(0.5, 2.0),
    search_s=1.5,
    warm_up_texts=40,
    bare_texts=200,
    repeats=1,
)
SCOPES = {scope.name: scope for scope in (BENCH, FULL, QUICK)}
