"""`sentigraph score IN OUT`: classifies the rows of files with a pool of engines on Ray Data.

CSV, JSON lines and Parquet, local or by URI. The input is cut into parts; every part is
scored and stored on its own, so a run that is broken off goes on where it was when the same
command is given again. One output file has all rows in their order; a folder keeps the parts.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import ray
from ray.data import DataContext
from tqdm import tqdm

from configs.cpu_cores import available_cores
from configs.load import load_config
from configs.schema.app import AppConfig
from deployments.jobs.file_kind import SUFFIXES
from deployments.jobs.records import Kind
from pipelines.data.labelled_texts import add_separator_argument
from pipelines.errors import ScoreError, refusing
from pipelines.progress import EVERY_S, say
from pipelines.scoring.output import Columns, merge
from pipelines.scoring.partitions import Partition, cut
from pipelines.scoring.plan import Plan, check_same, file_facts, finished, is_kept, keep, recall
from pipelines.scoring.scorer import Scorer, Task, part_name
from pipelines.scoring.source import (
    Source,
    check_columns,
    open_source,
    open_target,
    remove_unpacked,
    unpack,
    written_separator,
)
from pipelines.scoring.storage import Location
from registry.bundles.bundle import open_bundle
from registry.model_registry import ModelRegistry
from registry.records import Bundle

_OBJECT_STORE_BYTES = 200 << 20


@dataclass(frozen=True, slots=True)
class Pinned:
    """The model of a run: what was asked for, and what that is."""

    asked: str
    name: str
    version: int
    bundle: Bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `sentigraph score`."""
    suffixes = ", ".join(SUFFIXES)
    parser.add_argument("source", metavar="IN", help=f"file ({suffixes}) or folder, path or URI")
    parser.add_argument("target", metavar="OUT", help="file, or folder for the parts, path or URI")
    parser.add_argument("--text-column", default="text", help="column or field of the text")
    add_separator_argument(parser)
    parser.add_argument("--model", help="alias or version; the served alias when not given")
    parser.add_argument("--bundle", type=Path, help="folder of a bundle, instead of the registry")
    parser.add_argument("--actors", type=int, help="engines; one for each CPU when not given")
    parser.add_argument("--part-rows", type=int, default=1_024, help="rows of a part")
    parser.add_argument("--format", choices=sorted(set(SUFFIXES.values())), help="of a folder OUT")
    parser.add_argument("--prefix", default="", help="before the names of added columns")
    parser.add_argument("--address", help="a Ray cluster; one of its own when not given")
    parser.add_argument("--restart", action="store_true", help="forget a run that was broken off")


def main(args: argparse.Namespace) -> int:
    """Scores the input, prints a summary as JSON, returns the exit status.

    Raises:
        ScoreError: The input, the output or a run before cannot be used as asked.
    """
    started_s = time.monotonic()
    config = load_config({})
    source = open_source(args.source, args.text_column, args.separator)
    target, written, is_folder = open_target(args.target, args.format, source.kind)
    separator = written_separator(source, target)
    parts_place = target if is_folder else target.beside(".parts")
    kept = None if args.restart else recall(parts_place)
    if kept is None:
        _make_room(target, parts_place, restart=args.restart, is_folder=is_folder)
    with _pinned(args, config, kept) as model:
        columns = Columns(args.prefix, model.bundle.labels, model.bundle.head)
        check_columns(source, written, columns.names)
        plan = _plan(args, config, source, written, model)
        if kept is None:
            keep(parts_place, plan)
        else:
            check_same(kept, plan)
        facts: dict[str, object] = {
            "model_name": model.name,
            "model_version": model.version or None,
            "model_digest": model.bundle.digest,
            "labels": list(model.bundle.labels),
            "task": model.bundle.head.task,
        }
        unpacked = unpack(source, parts_place)
        parts = list(
            cut(unpacked.place, unpacked.files, source.kind, args.part_rows, source.separator)
        )
        task = Task(
            source=unpacked.place.uri,
            kind=source.kind,
            schema=source.schema,
            column=args.text_column,
            parts=parts_place.uri,
            written=written,
            heads=is_folder,
            prefix=args.prefix,
            facts=facts,
            max_text_chars=config.limits.max_text_chars,
            batching=config.batching,
            model=config.model,
            separator=source.separator,
            written_separator=separator,
        )
        before = finished(parts_place)
        with refusing(ScoreError, "scoring stopped", "the same command goes on where it was"):
            _run(task, parts, set(before), model.bundle, args)
    done = finished(parts_place)
    if missing := len(parts) - len(done):
        raise ScoreError(f"{missing} parts were not scored; give the same command again")
    ordered = [done[number] for number in range(len(parts))]
    summary = {
        **facts,
        "source": args.source,
        "rows": sum(rows for _, rows, _ in ordered),
        "failed_rows": sum(failed for *_, failed in ordered),
        "rows_scored_by_an_earlier_run": sum(rows for _, rows, _ in before.values()),
        "seconds": round(time.monotonic() - started_s, 1),
    }
    if written == "csv":
        summary["separator"] = separator
    schema = columns.schema(source.schema)
    places = [parts_place.below(name) for name, *_ in ordered]
    with refusing(ScoreError, f"{target.uri} cannot be written"):
        if not is_folder:
            merge(places, target, written, schema, facts, separator=separator)
            parts_place.remove()
        elif not places:
            # A folder without rows is still a table of its columns.
            empty = target.below(part_name(0, 0, 0, written))
            merge([], empty, written, schema, facts, separator=separator)
    if is_folder:
        remove_unpacked(source, unpacked)
    meta = target.below("_meta.json") if is_folder else target.beside(".meta.json")
    meta.write([json.dumps(summary, indent=1).encode() + b"\n"])
    print(json.dumps(summary, indent=1))
    return 0


def _make_room(target: Location, parts: Location, *, restart: bool, is_folder: bool) -> None:
    if restart and is_kept(parts):
        parts.remove()
    if (is_folder and target.names()) or (not is_folder and target.exists()):
        raise ScoreError(f"{target.uri} is there already; remove it, or name another")


@contextmanager
def _pinned(args: argparse.Namespace, config: AppConfig, kept: Plan | None) -> Iterator[Pinned]:
    """The model, with its files here as long as the block runs."""
    if args.bundle is not None:
        bundle = open_bundle(args.bundle)
        yield Pinned(str(args.bundle), bundle.name, 0, bundle)
        return
    asked = args.model or config.model.alias
    registry = ModelRegistry(config.registry.tracking_uri, config.registry.artifact_root)
    # The alias may have moved since the run began; what it began with is in its plan.
    reference = kept.version if kept is not None and kept.asked == asked else asked
    version = registry.store.resolve(config.model.name, reference)
    with tempfile.TemporaryDirectory(prefix="sentigraph-score-") as folder:
        bundle = registry.store.fetch(version, Path(folder))
        yield Pinned(asked, version.name, version.version, bundle)


def _plan(
    args: argparse.Namespace, config: AppConfig, source: Source, written: Kind, model: Pinned
) -> Plan:
    if args.part_rows < 1:
        raise ScoreError("--part-rows must be at least 1")
    return Plan(
        source=args.source,
        files=file_facts(source.files),
        column=args.text_column,
        separator=source.separator,
        part_rows=args.part_rows,
        written=written,
        prefix=args.prefix,
        asked=model.asked,
        name=model.name,
        version=model.version,
        digest=model.bundle.digest,
        max_text_chars=config.limits.max_text_chars,
        reproducible=config.batching.reproducible_scores,
    )


def _run(
    task: Task,
    parts: Sequence[Partition],
    finished: set[int],
    bundle: Bundle,
    args: argparse.Namespace,
) -> None:
    """Scores what is not finished; progress counts rows, those of an earlier run included."""
    left = [part for part in parts if part.number not in finished]
    if not left:
        return
    total = sum(part.rows for part in parts)
    done = total - sum(part.rows for part in left)
    plain, shown_s = not sys.stderr.isatty(), time.monotonic()
    bar = tqdm(total=total, initial=done, unit=" rows", disable=plain)
    with _cluster(args.address), bar:
        files = {name: ray.put((bundle.directory / name).read_bytes()) for name in _names(bundle)}
        actors = args.actors or max(1, int(ray.cluster_resources().get("CPU", 1)))
        context = DataContext.get_current()
        context.enable_progress_bars = False
        # Its log file has all of it.
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        rows = [asdict(part) for part in left]
        dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
        scored = dataset.map_batches(
            Scorer,
            fn_constructor_args=(task, bundle.digest, files),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(actors, len(left))),
            num_cpus=1,
        )
        for row in scored.iter_rows():
            bar.update(int(row["rows"]))
            done += int(row["rows"])
            if plain and (done == total or time.monotonic() - shown_s >= EVERY_S):
                shown_s = time.monotonic()
                say(f"{done} of {total} rows")


def _names(bundle: Bundle) -> list[str]:
    return sorted({*bundle.files, "bundle.json"})


@contextmanager
def _cluster(address: str | None) -> Iterator[None]:
    """A Ray cluster that is there, or one of its own that ends with the block."""
    # Ray's sockets need a short path; the folder's name is random and its owner's alone.
    with tempfile.TemporaryDirectory(prefix="sg-", dir="/tmp") as folder:  # nosec B108
        own = {
            "num_cpus": max(1, int(available_cores())),
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE_BYTES,
            "_temp_dir": folder,
            "_node_ip_address": "127.0.0.1",
            # Ray gives its workers the lowest priority; here they are the work.
            "_system_config": {"worker_niceness": 0},
        }
        try:
            ray.init(
                address=address or "local",
                logging_level="ERROR",
                log_to_driver=False,
                **({} if address else own),
            )
        except ConnectionError as error:
            raise ScoreError(
                f"the Ray cluster at {address} does not let us in: is it there, and are "
                "RAY_AUTH_MODE=token and its token set where it asks for one?"
            ) from error
        try:
            yield
        finally:
            ray.shutdown()
