"""Promotions that race, and promotions that are killed: does the registry stay whole?

``python -m tests.system.registry_races`` makes a registry in a temporary folder, on a sqlite
file and then behind an MLflow server, lets real processes promote different versions at the same
moment, then kills a process with SIGKILL at random points of its transitions. After
each it checks: one winner, one champion, aliases and stages as the ledger says, chain valid.
"""

import argparse
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.harness.mlflow_server import MlflowServer
from benchmarks.harness.output import RESULTS, result, run_facts, say
from registry.bundles.bundle import write_bundle
from registry.errors import Conflict, RegistryError
from registry.model_registry import ModelRegistry
from registry.records import EngineHints

NAME = "raced"
RACERS = 3
STORES = ("sqlite", "http")
RESULT = RESULTS / "registry_races.json"
# Children share what is imported already; none inherits an open store.
_FORK = multiprocessing.get_context("fork")


def main() -> int:
    """Runs both proofs on each store and keeps the counts; 0 when every race had one winner."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stores", nargs="+", choices=STORES, default=STORES)
    parser.add_argument("--races", type=int, default=50)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--save", type=Path, default=RESULT, help="file of the counts")
    args = parser.parse_args()
    # Once, before the forks: importing takes far longer than a promotion.
    import mlflow.store.model_registry.sqlalchemy_store  # noqa: PLC0415
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401, PLC0415

    facts, found = run_facts(), {}
    for store in args.stores:
        with tempfile.TemporaryDirectory(prefix="registry-races-") as scratch:
            found[store] = measured(store, Path(scratch), args)
        say(f"{store}: {found[store]}")
    result(args.save, facts | found)
    return int(any(counts["races_with_one_winner"] != args.races for counts in found.values()))


def measured(store: str, folder: Path, args: argparse.Namespace) -> dict[str, int]:
    """Both proofs on one store."""
    with ExitStack() as stop:
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        if store == "http":
            uri = stop.enter_context(MlflowServer(folder)).url
        place = (uri, str(folder / "artifacts"))
        alone(fill, place, folder)
        races = [alone(race, place) for _ in range(args.races)]
        chance = random.Random(args.seed)
        kills = [kill(place, chance) for _ in range(args.kills)]
        entries = alone(check, place)
    return {
        "races": len(races),
        "races_with_one_winner": sum(winners == 1 for winners in races),
        "kills": len(kills),
        "interrupted_half_way": sum(kills),
        "ledger_entries": entries,
    }


def fill(place: tuple[str, str], folder: Path) -> None:
    """Four versions; the first is champion."""
    registry = ModelRegistry(*place)
    for number in range(4):
        (folder / "model.onnx").write_bytes(f"weights {number}".encode())
        (folder / "tokenizer.json").write_text("{}")
        write_bundle(
            folder / f"bundle-{number}",
            name=NAME,
            labels=("NEG", "POS"),
            files={n: folder / n for n in ("model.onnx", "tokenizer.json")},
            max_tokens=16,
            engine=EngineHints("onnx", "fp32", ("input_ids",), 0),
        )
        registry.store.register(NAME, folder / f"bundle-{number}", actor="setup")
    registry.point(NAME, "champion", 1, actor="setup", reason="setup")


def race(place: tuple[str, str]) -> int:
    """Three processes promote three versions at once, from the same state; how many succeed."""
    registry = ModelRegistry(*place)
    state = registry.lifecycle.state(NAME)
    rivals = [version for version in (1, 2, 3, 4) if version != state.champion]
    for version in rivals:
        if state.stage(version) != "staging":
            registry.lifecycle.transition(NAME, version, "staging", actor="setup")
    seen = registry.lifecycle.state(NAME).seq
    barrier = _FORK.Barrier(RACERS)
    outcomes = _FORK.SimpleQueue()

    def run(version: int) -> None:
        mine = ModelRegistry(*place)
        mine.store.initialise()
        barrier.wait(60)
        try:
            mine.lifecycle.transition(
                NAME, version, "production", actor=f"racer {version}", expected_seq=seen
            )
        except Conflict:
            outcomes.put(0)
        else:
            outcomes.put(version)

    racers = [_FORK.Process(target=run, args=(version,)) for version in rivals]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(120)
    assert [racer.exitcode for racer in racers] == [0] * RACERS
    winners = [version for _ in racers if (version := outcomes.get())]
    check(place)
    assert not winners or registry.lifecycle.state(NAME).champion == winners[0]
    return len(winners)


def kill(place: tuple[str, str], chance: random.Random) -> bool:
    """Kills a process amid its transitions; whether one was half done. Checks what is left."""
    ready, ready_end = _FORK.Pipe(duplex=False)
    victim = _FORK.Process(target=work, args=(place, ready_end, chance.random()))
    victim.start()
    assert ready.poll(60)
    ready.recv()
    time.sleep(chance.uniform(0.0, 1.0))
    assert victim.pid is not None
    os.kill(victim.pid, signal.SIGKILL)
    victim.join(30)
    half_way = bool(alone(applied_less_than_written, place))
    alone(check, place)
    return half_way


def work(place: tuple[str, str], ready_end: Connection, seed: float) -> None:
    """Promotes and rolls back until it is killed."""
    registry, chance = ModelRegistry(*place), random.Random(seed)
    lifecycle = registry.lifecycle
    lifecycle.state(NAME)
    ready_end.send("ready")
    while True:
        version = chance.randint(1, 4)
        try:
            if chance.random() < 0.2:
                lifecycle.rollback(NAME, actor="victim", reason="chance")
            elif lifecycle.state(NAME).stage(version) == "staging":
                lifecycle.transition(NAME, version, "production", actor="victim")
            else:
                lifecycle.transition(NAME, version, "staging", actor="victim")
        except RegistryError:
            continue  # The champion cannot be moved, or there was none before.


def applied_less_than_written(place: tuple[str, str]) -> bool:
    """Whether MLflow's aliases or tags lag behind the ledger, before anyone repairs them."""
    registry = ModelRegistry(*place)
    tags = registry.store.mlflow.client().get_registered_model(NAME).tags
    return int(tags["registry.applied"]) < len(registry.ledger.events(NAME))


def check(place: tuple[str, str]) -> int:
    """One champion, everything as the ledger says, chain valid; the number of entries."""
    registry = ModelRegistry(*place)
    state = registry.lifecycle.state(NAME)
    model = registry.store.mlflow.client().get_registered_model(NAME)
    assert {a: int(v) for a, v in model.aliases.items()} == dict(state.aliases)
    stages = {v.version: v.stage for v in registry.store.list_versions(NAME)}
    assert stages == {version: state.stage(version) for version in stages}, (stages, state)
    assert [v for v, stage in stages.items() if stage == "production"] == [state.champion]
    return len(registry.ledger.events(NAME))


def alone(function: Any, *args: Any) -> Any:
    """Runs a function in a process of its own, so that none inherits its open store."""
    receiving, sending = _FORK.Pipe(duplex=False)
    process = _FORK.Process(target=lambda: sending.send(function(*args)))
    process.start()
    process.join(300)
    assert process.exitcode == 0, function.__name__
    return receiving.recv()


if __name__ == "__main__":
    sys.exit(main())
