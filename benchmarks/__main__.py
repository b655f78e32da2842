"""The benchmark's command line: ``make bench``, ``make bench-full``, ``python -m benchmarks``."""

import argparse
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.comparison.catalogue import PEERS, by_name
from benchmarks.comparison.environments import peer_versions
from benchmarks.comparison.record import FORMAT, Record
from benchmarks.comparison.report import write_report
from benchmarks.comparison.run import Run
from benchmarks.comparison.scope import BENCH, FULL, QUICK, SCOPES, Scope
from benchmarks.comparison.steps import Step, steps
from benchmarks.comparison.workloads import WORKLOADS
from benchmarks.harness.machine import commit, load_average, machine, versions, whole_cores
from benchmarks.harness.models import MODELS, STATE_DIR
from benchmarks.harness.output import command, say
from benchmarks.harness.texts import real_texts

_QUIET_LOAD = 0.5
_ALL_TEXTS = 1_000_000
_TRUST_S = 120.0


def _names(known: tuple[str, ...]) -> Callable[[str], list[str]]:
    def parse(value: str) -> list[str]:
        names = value.split(",")
        if unknown := sorted(set(names) - set(known)):
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; {', '.join(known)}")
        return names

    return parse


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("--full", action="store_true", help="everything: hours")
    amount.add_argument(
        "--quick", action="store_true", help="a smoke test: its figures mean nothing"
    )
    every = tuple(peer.name for peer in PEERS)
    parser.add_argument("--peers", type=_names(every), default=list(every), help=", ".join(every))
    parser.add_argument("--models", type=_names(MODELS), help=", ".join(MODELS))
    parser.add_argument("--workloads", type=_names(WORKLOADS), help=", ".join(WORKLOADS))
    parser.add_argument("--resume", type=Path, metavar="RAW", help="go on with this raw file")
    parser.add_argument("--out", type=Path, default=STATE_DIR / "results", help="folder")
    return parser


def _new_record(folder: Path, scope: Scope) -> Record:
    now = datetime.now(UTC)
    load = load_average()
    if load > _QUIET_LOAD:
        print(
            f"the machine is not quiet (load {load:.1f}): no figure will mean much", file=sys.stderr
        )
    return Record(
        folder / f"{scope.name}-{now:%Y%m%d-%H%M%S}.json",
        {
            "format": FORMAT,
            "scope": scope.name,
            "command": command(),
            "date": now.isoformat(timespec="seconds"),
            "machine": machine(),
            "load_average_at_start": round(load, 2),
            "versions": {**versions(), **peer_versions()},
            "commit": commit(),
            "models": {},
        },
    )


def _do_all(run: Run, planned: list[Step]) -> None:
    started_s = time.monotonic()
    ahead_s = total_s = sum(step.estimate_s for step in planned)
    for number, step in enumerate(planned, start=1):
        gone_s = time.monotonic() - started_s
        # Estimates are corrected by how they did so far, the first ones gently.
        pace = (gone_s + _TRUST_S) / (total_s - ahead_s + _TRUST_S)
        left = f"{gone_s / 60:.0f} min gone, about {ahead_s * pace / 60:.0f} left"
        say(f"[{number}/{len(planned)}, {left}] {step}")
        run.do(step, lambda line: say(f"    {line}"))
        ahead_s -= step.estimate_s


def main() -> int:
    """Runs the benchmark and writes raw file, table and charts; 1 if a peer failed."""
    args = _parser().parse_args()
    for sent in (signal.SIGINT, signal.SIGTERM):
        # However it is stopped, the server under test is ended, and --resume goes on from here.
        signal.signal(sent, lambda number, _: sys.exit(128 + number))
    scope = FULL if args.full else QUICK if args.quick else BENCH
    if args.resume:
        record = Record.read(args.resume)
        record.go_on(command(), commit())
        scope = SCOPES[record.content["scope"]]
    else:
        record = _new_record(args.out, scope)
    peers = [by_name(name) for name in args.peers]
    real = real_texts(_ALL_TEXTS)
    planned = steps(scope, peers, models=args.models, workloads=args.workloads)
    _do_all(Run(record, scope, real, cores=whole_cores()), planned)
    record.save()
    for path in (record.path, *write_report(record.path)):
        print(path)
    return 1 if record.content["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
