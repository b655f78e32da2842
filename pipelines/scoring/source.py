"""The input and the output of a run: what they are called, and what is refused before work."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from deployments.jobs.json_lines import taken_names
from pipelines.errors import ScoreError, refusing
from pipelines.scoring.parquet_types import unified_schema
from pipelines.scoring.partitions import (
    BOM,
    SUFFIXES,
    Kind,
    compression_of,
    header_of,
    kind_of,
)
from pipelines.scoring.rows import RAW
from pipelines.scoring.storage import FileInfo, Location

_BLOCK_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """The input.

    Attributes:
        place: Where it is.
        files: Its files as they were found.
        kind: Of all of them.
        schema: Columns of a row as it is carried: those of CSV are texts, JSON has one of whole
            lines.
    """

    place: Location
    files: list[FileInfo]
    kind: Kind
    schema: pa.Schema

    @property
    def header(self) -> list[str]:
        """Names of the columns; JSON lines have none that are sure."""
        return [] if self.kind == "jsonl" else list(self.schema.names)


def open_source(uri: str, column: str) -> Source:
    """Looks at the input's files and their columns.

    Raises:
        ScoreError: They are of several kinds, differ in their columns, name one twice, or have none
            of the texts' name.
    """
    place = Location(uri)
    files = place.files()
    kinds = {kind_of(file.path) for file in files}
    if len(kinds) != 1 or None in kinds:
        raise ScoreError(
            f"{uri} must be files of one kind, ending in {', '.join(SUFFIXES)} (CSV and JSON lines "
            "also .gz or .zst)"
        )
    (kind,) = kinds
    assert kind is not None
    headers = [header_of(place, file, kind) for file in files]
    if any(header != headers[0] for header in headers):
        raise ScoreError(f"the files of {uri} do not have the same columns")
    if kind == "jsonl":
        return Source(place, files, kind, pa.schema([(RAW, pa.string())]))
    header = headers[0]
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise ScoreError(
            f"{uri} has more than one column named {', '.join(map(repr, twice))}; rename them"
        )
    if column not in header:
        shown = ", ".join(header[:20])
        other = len(header) == 1 and any(mark in header[0] for mark in ";\t|")
        why = "; columns are separated by commas here" if other else ""
        raise ScoreError(f"{uri} has no column {column!r}; --text-column is one of: {shown}{why}")
    if kind == "parquet":
        return Source(place, files, kind, unified_schema(place, files))
    return Source(place, files, kind, pa.schema([(name, pa.string()) for name in header]))


def open_target(uri: str, given: Kind | None, source: Kind) -> tuple[Location, Kind, bool]:
    """Returns the output's place, its kind, and whether it is a folder of parts.

    Raises:
        ScoreError: Its name says neither a kind nor a folder, or contradicts `given`.
    """
    place = Location(uri)
    if compression_of(place.path):
        raise ScoreError(f"{uri}: OUT is not compressed; Parquet is by itself")
    kind = kind_of(place.path)
    if kind is not None:
        if given not in (None, kind):
            raise ScoreError(f"--format {given} is not what {uri} says")
        return place, kind, False
    if Path(place.path).suffix and not uri.endswith("/"):
        raise ScoreError(f"{uri} must end in {', '.join(SUFFIXES)}, or be a folder")
    return place, given or source, True


def check_columns(source: Source, written: Kind, names: Collection[str]) -> None:
    """Checks that no row has what is added to it.

    Raises:
        ScoreError: One has.
    """
    both = set(source.header) & set(names)
    if source.kind == written == "jsonl":
        for file in source.files:
            with refusing(ScoreError, f"{file.path} cannot be read as jsonl"):
                both |= taken_names(_lines(source.place, file), names)
    if both:
        raise ScoreError(
            f"the input has columns that would be added: {', '.join(sorted(both))}; "
            "--prefix gives the added ones other names"
        )


def unpack(source: Source, folder: Location) -> Source:
    """Returns the source with its compressed files unpacked into `folder`, where they are not yet.

    Parts are byte ranges, which compressed files do not have.

    Raises:
        ScoreError: A file is cut off or is not what its name says.
    """
    if not any(compression_of(file.path) for file in source.files):
        return source
    files = []
    for number, file in enumerate(source.files):
        target = folder.below(f"_input-{number:06}.{source.kind}")
        if not target.exists():
            with refusing(ScoreError, f"{file.path} cannot be unpacked"):
                target.write(_blocks(source.place, file))
        files += target.files()
    return replace(source, place=folder, files=files)


def remove_unpacked(source: Source, unpacked: Source) -> None:
    """Deletes what `unpack` wrote."""
    if unpacked is not source:
        for file in unpacked.files:
            unpacked.place.fs.delete_file(file.path)


def _blocks(place: Location, file: FileInfo) -> Iterator[bytes]:
    with place.fs.open_input_stream(file.path, compression=compression_of(file.path)) as stream:
        while block := stream.read(_BLOCK_BYTES):
            yield bytes(block)


def _lines(place: Location, file: FileInfo) -> Iterator[bytes]:
    rest, marked = b"", True
    for block in _blocks(place, file):
        *whole, rest = (rest + (block.removeprefix(BOM) if marked else block)).split(b"\n")
        marked = False
        yield from whole
    yield rest
