"""The bundle: a model, its tokenizer, its labels, and a digest of every file.

Written by ``pipelines/export/export.py``, kept by ``registry/backend/store.py``, opened by the
replicas in ``deployments/``. Only files that cannot execute code are allowed; opening
a bundle checks each file's sha256, so a changed model is never served.
"""

import hashlib
import json
import math
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from registry.bundles.manifest import NAME, BundleManifest, head_problem
from registry.errors import IntegrityError, InvalidBundle
from registry.records import Bundle, EngineHints, Head, TruncationSide

MANIFEST = "bundle.json"
ALLOWED_SUFFIXES = frozenset({".onnx", ".safetensors", ".json", ".txt"})
MODEL_FILE = {"onnx": "model.onnx", "torch": "model.safetensors"}
TOKENIZER_FILE = "tokenizer.json"
_CHUNK_BYTES = 1 << 20


def write_bundle(
    directory: Path,
    *,
    name: str,
    labels: Sequence[str],
    files: Mapping[str, Path],
    max_tokens: int,
    truncation_side: TruncationSide = "right",
    temperature: float = 1.0,
    head: Head = Head(),  # noqa: B008  (frozen)
    engine: EngineHints,
    metrics: Mapping[str, float] | None = None,
    provenance: Mapping[str, str] | None = None,
) -> Bundle:
    """Copies ``files`` into ``directory`` and writes ``bundle.json``; replaces what was there.

    The new content is made beside ``directory`` and moved into place at the end, so a
    reader never sees half a bundle.

    Args:
        directory: Where the bundle goes. Its parent is made if missing.
        name: ``[A-Za-z0-9_.-]+``.
        labels: Class names, unique, in logit order.
        files: Name inside the bundle to the file to copy; must hold the engine's model
            file and ``tokenizer.json``.
        max_tokens: Longest input in tokens, special tokens included.
        truncation_side: End at which longer texts lose tokens.
        temperature: Divides the logits; fitted on validation data.
        head: What the outputs mean.
        engine: How to run the model file.
        metrics: Finite numbers by name.
        provenance: Data and recipe digests, base model, tool versions.

    Returns:
        The bundle as ``open_bundle`` sees it.

    Raises:
        InvalidBundle: A file name is not allowed, a required file is missing, labels
            repeat, or a value is out of range.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        entries: dict[str, dict[str, object]] = {}
        for target, source in sorted(files.items()):
            check_file_name(target)
            (staging / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, staging / target)
            digest, size = _sha256(staging / target)
            entries[target] = {"sha256": digest, "bytes": size}
        manifest = {
            "format": 1,
            "name": name,
            "labels": list(labels),
            "max_tokens": max_tokens,
            "truncation_side": truncation_side,
            "temperature": temperature,
            **_stated(head),
            "engine": {
                "kind": engine.kind,
                "precision": engine.precision,
                "inputs": list(engine.inputs),
                "pad_id": engine.pad_id,
                "batch_invariant": engine.batch_invariant,
                **({} if engine.pads else {"pads": False}),
            },
            "metrics": dict(metrics or {}),
            "provenance": dict(provenance or {}),
            "files": entries,
        }
        _parse(manifest, directory)
        text = json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False)
        (staging / MANIFEST).write_text(text + "\n", encoding="utf-8")
        staging.chmod(0o755)  # Made private by mkdtemp; replicas may run as another user.
        if directory.exists():
            shutil.rmtree(directory)
        staging.rename(directory)
    except OSError as error:
        raise InvalidBundle(f"bundle cannot be written to {directory}: {error}") from error
    finally:
        if staging.exists():
            shutil.rmtree(staging)
    return open_bundle(directory)


def rewrite_bundle(
    bundle: Bundle,
    directory: Path,
    *,
    temperature: float,
    head: Head | None = None,
    metrics: Mapping[str, float],
) -> Bundle:
    """Writes a bundle with the same files, another temperature or head, and figures of those.

    Raises:
        InvalidBundle: See ``write_bundle``.
    """
    return write_bundle(
        directory,
        name=bundle.name,
        labels=bundle.labels,
        files={name: bundle.directory / name for name in bundle.files},
        max_tokens=bundle.max_tokens,
        truncation_side=bundle.truncation_side,
        temperature=temperature,
        head=head or bundle.head,
        engine=bundle.engine,
        metrics=metrics,
        provenance=bundle.provenance,
    )


def open_bundle(directory: Path) -> Bundle:
    """Reads ``bundle.json`` and checks the sha256 of every file in it.

    Raises:
        InvalidBundle: No readable ``bundle.json``, or a value in it is out of range.
        IntegrityError: A listed file is missing or its sha256 differs.
    """
    try:
        raw = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InvalidBundle(f"{directory} is not a bundle: it has no {MANIFEST}") from error
    except (OSError, ValueError) as error:
        raise InvalidBundle(f"{directory / MANIFEST} cannot be read: {error}") from error
    manifest = _parse(raw, directory)
    for name, entry in manifest.files.items():
        path = directory / name
        if path.is_symlink() or not path.is_file():
            raise IntegrityError(f"bundle file {name} is missing in {directory}")
        digest, size = _sha256(path)
        if digest != entry.sha256:
            raise IntegrityError(
                f"bundle file {name} has sha256 {digest[:12]}… ({size} bytes), "
                f"recorded was {entry.sha256[:12]}… ({entry.bytes} bytes)"
            )
    return Bundle(
        directory=directory,
        digest=manifest_digest(raw),
        name=manifest.name,
        labels=manifest.labels,
        max_tokens=manifest.max_tokens,
        temperature=manifest.temperature,
        engine=EngineHints(
            kind=manifest.engine.kind,
            precision=manifest.engine.precision,
            inputs=manifest.engine.inputs,
            pad_id=manifest.engine.pad_id,
            batch_invariant=manifest.engine.batch_invariant,
            pads=manifest.engine.pads,
        ),
        metrics=manifest.metrics,
        provenance=manifest.provenance,
        files={name: (entry.sha256, entry.bytes) for name, entry in manifest.files.items()},
        truncation_side=manifest.truncation_side,
        head=Head(**manifest.head.model_dump()),
    )


def _stated(head: Head) -> dict[str, object]:
    """Nothing for the usual head: such a bundle keeps its digest, and older servers read it."""
    if head == Head():
        return {}
    stated = {**asdict(head), "thresholds": list(head.thresholds)}
    if head.temperatures:
        return {"head": {**stated, "temperatures": list(head.temperatures)}}
    stated.pop("temperatures")
    return {"head": stated}


def manifest_digest(manifest: Mapping[str, object]) -> str:
    """sha256 of the manifest as canonical JSON (sorted keys, no spaces, UTF-8)."""
    canonical = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()


def _parse(raw: object, directory: Path) -> BundleManifest:
    try:
        manifest = BundleManifest.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or MANIFEST
        raise InvalidBundle(f"{directory / MANIFEST}: {field}: {first['msg']}") from error
    if len(set(manifest.labels)) != len(manifest.labels):
        raise InvalidBundle(f"{directory / MANIFEST}: labels repeat: {list(manifest.labels)}")
    if problem := head_problem(manifest):
        raise InvalidBundle(f"{directory / MANIFEST}: head: {problem}")
    for name, value in manifest.metrics.items():
        if not math.isfinite(value):
            raise InvalidBundle(f"{directory / MANIFEST}: metric {name} is {value}, not a number")
    for name in manifest.files:
        check_file_name(name)
    for required in (MODEL_FILE[manifest.engine.kind], TOKENIZER_FILE):
        if required not in manifest.files:
            raise InvalidBundle(f"{directory / MANIFEST}: required file {required} is not listed")
    return manifest


def check_name(name: str) -> None:
    """Checks the name of a bundle.

    Raises:
        InvalidBundle: It is empty, too long, or has characters that no bundle's name has.
    """
    if len(name) > 255 or not re.fullmatch(NAME, name):
        raise InvalidBundle(
            f"{name[:50]!r} cannot be the name of a bundle: 1 to 255 letters, digits and . _ -"
        )


_MAX_NAME_BYTES = 255


def check_file_name(name: str) -> None:
    """Checks the name of a bundle's file other than its manifest.

    Raises:
        InvalidBundle: It leaves the bundle's directory, or could execute code.
    """
    path = PurePosixPath(name)
    if any(len(part.encode("utf-8", "replace")) > _MAX_NAME_BYTES for part in path.parts):
        raise InvalidBundle(f"file name {name[:40]!r}… is too long")
    if path.is_absolute() or ".." in path.parts or "\\" in name or str(path) != name:
        raise InvalidBundle(f"file name {name!r} leaves the bundle's directory")
    if name == MANIFEST:
        raise InvalidBundle(f"{MANIFEST} is written by write_bundle, not copied")
    if path.suffix not in ALLOWED_SUFFIXES:
        raise InvalidBundle(
            f"file {name!r} is not allowed in a bundle: only "
            f"{', '.join(sorted(ALLOWED_SUFFIXES))} (nothing that could execute code)"
        )


def _sha256(path: Path) -> tuple[str, int]:
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size
