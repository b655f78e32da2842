"""What `sentigraph models` checks: audit chains, stored files, leftovers."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tqdm import tqdm

from cli.models.show import show, when
from registry.backend.store import record_of
from registry.backend.tags import FORMAT_TAG
from registry.bundles.formats import BUNDLE
from registry.catalog.deletion import deleted_s
from registry.catalog.evaluations import logged_model_id
from registry.catalog.uploads import Uploads
from registry.errors import RegistryError
from registry.model_registry import ModelRegistry
from registry.records import ModelVersion

_MIN_AGE_S = 24 * 3600


def verify_model(registry: ModelRegistry, args: argparse.Namespace) -> int:
    """Checks every audit chain and every stored bundle against its digest; 1 when one fails."""
    names = [args.name] if args.name else [model.name for model in registry.catalog.models()]
    found = []
    for name in names:
        registry.catalog.model(name)
        found.append(_checked(name, "audit chain", partial(registry.ledger.events, name)))
        for version in tqdm(
            registry.store.list_versions(name), desc=name, leave=False, disable=None
        ):
            if not version.digest:
                continue
            with tempfile.TemporaryDirectory(prefix="sentigraph-verify-") as scratch:
                check = partial(_fetch, registry, version, Path(scratch))
                found.append(_checked(name, f"version {version.version}", check))
    rows = [["model", "what", "result"], *([f["model"], f["what"], f["result"]] for f in found)]
    show(args, found, rows)
    return int(any(f["result"] != "ok" for f in found))


def gc_model(registry: ModelRegistry, args: argparse.Namespace) -> int:
    """Finds files of interrupted uploads and deleted versions: older than a day, of no version."""
    now, deletions = time.time(), registry.deletions
    used = {
        logged_model_id(v)
        for m in registry.catalog.models()
        for v in registry.store.list_versions(m.name)
    }
    gone = {m.name: deleted_s(m) for m in deletions.deleted_models()}
    deleted = {
        logged_model_id(record_of(v, ())): gone.get(v.name) or deleted_s(v)
        for v in deletions.deleted_versions()
    }
    mlflow = registry.store.mlflow
    search, home = mlflow.client().search_logged_models, mlflow.experiment_id()
    stored = mlflow.pages("stored files", search, [home], max_results=100)
    since = {
        m.model_id: max(m.creation_timestamp / 1000, deleted.get(m.model_id, 0.0))
        for m in stored
        if m.model_id not in used
    }
    unused = [m for m in stored if m.model_id in since and now - since[m.model_id] > _MIN_AGE_S]
    young = {m: at for m, at in since.items() if now - at <= _MIN_AGE_S}
    if args.delete:
        with mlflow.translated("stored files"):
            for model in tqdm(unused, unit="models", leave=False, disable=None):
                mlflow.delete_files(model)
        deletions.purge(now - _MIN_AGE_S)
    if young:
        print(
            f"left out: {len(young)} of no version that are younger than "
            f"{_MIN_AGE_S / 3600:.0f} h (an upload may be under way, a deletion be undone); "
            f"the first is due at {when(min(young.values()) + _MIN_AGE_S)}",
            file=sys.stderr,
        )
    print(
        f"{len(stored)} stored, {len(stored) - len(since)} of versions, {len(unused)} unused",
        file=sys.stderr,
    )
    result = "deleted" if args.delete else "unused"
    rows = [["stored model", "name", ""], *([m.model_id, m.name, result] for m in unused)]
    return show(args, [m.model_id for m in unused], rows)


def _fetch(registry: ModelRegistry, version: ModelVersion, scratch: Path) -> None:
    """Downloads a version's files, which compares their digests."""
    if version.tags.get(FORMAT_TAG, BUNDLE) == BUNDLE:
        registry.store.fetch(version, scratch)
    else:
        Uploads(registry.store, registry.lifecycle, scratch, max_bytes=0).whole(version)


def _checked(name: str, what: str, check: Callable[[], object]) -> dict[str, str]:
    try:
        check()
    except RegistryError as error:
        return {"model": name, "what": what, "result": error.message}
    return {"model": name, "what": what, "result": "ok"}
