"""The input and the output of a run: what they are called, and what is refused before work."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from deployments.jobs.csv_header import separators_of
from deployments.jobs.file_kind import KINDS, SUFFIXES, compression_of, kind_of, suffix_of
from deployments.jobs.json_lines import parse_object, taken_names
from deployments.jobs.records import Kind
from pipelines.errors import ScoreError, refusing
from pipelines.scoring.parquet_types import unified_schema
from pipelines.scoring.partitions import BOM, csv_header_of, parquet_header_of
from pipelines.scoring.rows import RAW
from pipelines.scoring.storage import FileInfo, Location

_BLOCK_BYTES = 4 << 20
# Names of columns in a message.
_SHOWN = 20
# `.txt` says nothing of what is in it.
_WRITTEN = [suffix for suffix in SUFFIXES if suffix != ".txt"]


@dataclass(frozen=True, slots=True)
class Source:
    """The input.

    Attributes:
        place: Where it is.
        files: Its files as they were found.
        kind: Of all of them.
        schema: Columns of a row as it is carried: those of CSV are texts, JSON has one of whole
            lines.
        separator: Between columns of CSV.
    """

    place: Location
    files: list[FileInfo]
    kind: Kind
    schema: pa.Schema
    separator: str = ","

    @property
    def header(self) -> list[str]:
        """Names of the columns; JSON lines have none that are sure."""
        return [] if self.kind == "jsonl" else list(self.schema.names)


def open_source(uri: str, column: str, separator: str | None = None) -> Source:
    """Looks at the input's files and their columns; a separator that is not given is found.

    Raises:
        ScoreError: They are of several kinds, differ in their columns, name one twice, or have none
            of the texts' name.
    """
    place = Location(uri)
    files = place.files()
    kinds = {kind_of(file.path) for file in files}
    if len(kinds) != 1 or None in kinds:
        raise ScoreError(f"{uri} must be files of one kind, ending in {KINDS}")
    (kind,) = kinds
    assert kind is not None
    if kind == "jsonl":
        source = Source(place, files, kind, pa.schema([(RAW, pa.string())]))
        _check_field(source, column)
        return source
    if kind == "csv":
        found = csv_header_of(place, files[0], separator or separators_of(files[0].path), column)
        separator = found.separator
        headers = [csv_header_of(place, file, separator, column).names for file in files]
    else:
        headers = [parquet_header_of(place, file) for file in files]
    header = headers[0]
    for file, other in zip(files, headers, strict=True):
        if other != header:
            raise ScoreError(
                f"the files of {uri} do not have the same columns: {files[0].path} has "
                f"{_listed(header)}; {file.path} has {_listed(other)}"
            )
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise ScoreError(
            f"{uri} has more than one column named {', '.join(map(repr, twice))}; rename them"
        )
    if column not in header:
        raise _no_column(uri, column, header)
    if kind == "parquet":
        return Source(place, files, kind, unified_schema(place, files))
    schema = pa.schema([(name, pa.string()) for name in header])
    return Source(place, files, kind, schema, separator or ",")


def _check_field(source: Source, column: str) -> None:
    """Refuses JSON lines none of which has the field of the text; one line that has it is enough.

    Raises:
        ScoreError: None has.
    """
    names: dict[str, None] = {}
    for file in source.files:
        with refusing(ScoreError, f"{file.path} cannot be read as jsonl"):
            for line in _lines(source.place, file):
                row = parse_object(line) or {}
                if column in row:
                    return
                if len(names) < _SHOWN:
                    names |= dict.fromkeys(row)
    if names:
        raise _no_column(source.place.uri, column, list(names))


def _no_column(uri: str, column: str, names: Sequence[str]) -> ScoreError:
    return ScoreError(f"{uri} has no column {column!r}; --text-column is one of: {_listed(names)}")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def open_target(uri: str, given: Kind | None, source: Kind) -> tuple[Location, Kind, bool]:
    """Returns the output's place, its kind, and whether it is a folder of parts.

    Raises:
        ScoreError: Its name says neither a kind nor a folder, or contradicts `given`.
    """
    place = Location(uri)
    if compression_of(place.path):
        raise ScoreError(f"{uri}: OUT is not compressed; Parquet is by itself")
    kind = kind_of(place.path) if suffix_of(place.path) in _WRITTEN else None
    if kind is not None:
        if given not in (None, kind):
            raise ScoreError(f"--format {given} is not what {uri} says")
        return place, kind, False
    if Path(place.path).suffix and not uri.endswith("/"):
        raise ScoreError(f"{uri} must end in {', '.join(_WRITTEN)}, or be a folder")
    return place, given or source, True


def written_separator(source: Source, target: Location) -> str:
    """Between columns of CSV that is written: tabs in ``.tsv``, else the input's, else commas."""
    return "\t" if suffix_of(target.path) == ".tsv" else source.separator


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
