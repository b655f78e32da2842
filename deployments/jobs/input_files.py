"""An uploaded file, read in bounded memory: CSV, JSON lines or Parquet → chunks of rows in order.

Nothing of a file is trusted but its bytes' number. A row keeps what it had; its text is taken
out. A row without a text gives None, so that rows keep their numbers; a text longer than
allowed is cut just above the limit, which is enough for it to be refused.
"""

import codecs
import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import orjson

from deployments.errors import BatchTooLarge
from deployments.jobs.cells import fitted, utf8_text
from deployments.jobs.columns import taken_names
from deployments.jobs.compressed import Unpacked
from deployments.jobs.csv_header import read_header, separators_of
from deployments.jobs.errors import JobRefused
from deployments.jobs.file_kind import KINDS, compression_of, kind_of
from deployments.jobs.json_lines import parse_object
from deployments.jobs.parquet_input import read_parquet
from deployments.jobs.records import Carried, Kind, Part

# A line may be a text that is too long, and fields beside it.
_LINE_CHARS_PER_TEXT_CHAR = 16
# Names of columns in a message.
_SHOWN = 10
_Row = tuple[object, object]


@dataclass(frozen=True, slots=True)
class InputFile:
    """What is read, and how.

    Attributes:
        file: From its start; one that the system knows, or that can be written out.
        name: As it was uploaded; its end says what it is.
        column: Column or field of the text.
        prefix: Before the names of what is added to its rows.
        max_chars: Longer texts are cut to one character more.
        max_bytes: What a compressed file may unpack to, and a column of a Parquet row group;
            twice of it is the memory that reading one may take.
        max_part_bytes: What one chunk of a Parquet file may take.
    """

    file: BinaryIO
    name: str
    column: str
    prefix: str
    max_chars: int
    max_bytes: int
    max_part_bytes: int

    def read(self, chunk_texts: int) -> Iterator[Carried | Part]:
        """What the rows have in common, then the rows in chunks of so many.

        Raises:
            JobRefused: It is not such a file, has no such column, has two of one name, or one that
                would be added.
            BatchTooLarge: A chunk is larger than one may be.
        """
        kind, compression = known_kind(self.name), compression_of(self.name)
        file = self.file
        if compression is not None:
            file = io.BufferedReader(Unpacked(file, compression, self.max_bytes))
        try:
            if kind == "parquet":
                yield from self._parquet(chunk_texts)
            elif kind == "csv":
                yield from self._csv(file, chunk_texts)
            else:
                yield Carried("jsonl", self.prefix)
                yield from _chunks(self._jsonl(file), chunk_texts)
        except UnicodeDecodeError as error:
            raise JobRefused("the file is not UTF-8", {"field": "file"}) from error

    def _parquet(self, chunk_texts: int) -> Iterator[Carried | Part]:
        for found in read_parquet(
            self.file,
            self.column,
            chunk_texts,
            max_chars=self.max_chars,
            max_bytes=self.max_bytes,
            max_part_bytes=self.max_part_bytes,
        ):
            if isinstance(found, Part):
                yield found
            else:
                columns, schema = found
                self._check(columns)
                yield Carried("parquet", self.prefix, columns, schema)

    def _csv(self, file: BinaryIO, chunk_texts: int) -> Iterator[Carried | Part]:
        lines = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        csv.field_size_limit(max(131_072, self.max_chars * _LINE_CHARS_PER_TEXT_CHAR))
        try:
            found, rest = read_header(iter(lines), separators_of(self.name), self.column)
            header, separator = found.names, found.separator
            self._check(header)
            yield Carried("csv", self.prefix, header, separator=separator)
            at = header.index(self.column)
            texts = (
                (row[at] if len(row) == len(header) else None, fitted(row, len(header), separator))
                for row in csv.reader(rest, delimiter=separator, strict=True)
                if row
            )
            yield from _chunks(self._cut(texts), chunk_texts)
        except csv.Error as error:
            raise JobRefused(f"the file is no CSV: {error}", {"field": "file"}) from error
        finally:
            lines.detach()

    def _jsonl(self, file: BinaryIO) -> Iterator[_Row]:
        most = max(131_072, self.max_chars * _LINE_CHARS_PER_TEXT_CHAR)
        number = 0
        fields: dict[str, None] | None = {}
        while line := file.readline(most + 1):
            number += 1
            if len(line) > most:
                raise JobRefused(f"line {number} has more than {most} bytes", {"field": "file"})
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            if not line.strip():
                continue
            row = parse_object(line) or {}
            if taken := taken_names(row, self.prefix):
                raise _taken(taken, f"line {number} has")
            if self.column in row:
                fields = None
            elif fields is not None and len(fields) < _SHOWN:
                fields |= dict.fromkeys(row)
            text = row.get(self.column)
            yield from self._cut([(text, line.decode("utf-8", "replace").rstrip("\r\n"))])
        if fields:
            # No row has it: a name that was not given, rather than rows without a text.
            raise self._no_column(list(fields))

    def _cut(self, rows: Iterable[_Row]) -> Iterator[_Row]:
        for text, row in rows:
            yield utf8_text(text[: self.max_chars + 1]) if isinstance(text, str) else None, row

    def _check(self, header: Sequence[str]) -> None:
        if twice := sorted({name for name in header if header.count(name) > 1}):
            raise JobRefused(
                f"the file has more than one column named {_shown(twice)}; rename them",
                {"field": "file"},
            )
        if self.column not in header:
            raise self._no_column(header)
        if taken := taken_names(header, self.prefix):
            raise _taken(taken, "the file has")

    def _no_column(self, names: Sequence[str]) -> JobRefused:
        return JobRefused(
            f"no column {self.column[:50]!r}; there is: {_shown(names)}; `text_column` names the "
            "column of the texts",
            {"field": "text_column"},
        )


def known_kind(filename: str) -> Kind:
    """What a file is, by the end of its name.

    Raises:
        JobRefused: None that can be read.
    """
    kind = kind_of(filename)
    if kind is None:
        raise JobRefused(f"the file's name must end in {KINDS}", {"field": "file"})
    return kind


def text_parts(texts: Iterable[str], chunk_texts: int) -> Iterator[Part]:
    """Texts that came without a file, in chunks."""
    for part in _chunks(((text, None) for text in texts), chunk_texts):
        yield Part(part.texts)


def at_most(given: Iterable[Carried | Part], most: int) -> Iterator[Carried | Part]:
    """The same.

    Raises:
        BatchTooLarge: There are more texts than ``most``.
    """
    number = 0
    for each in given:
        number += len(each.texts) if isinstance(each, Part) else 0
        if number > most:
            raise BatchTooLarge(
                f"more texts than the {most} that one job may have", {"max_texts": most}
            )
        yield each


def _chunks(rows: Iterable[_Row], size: int) -> Iterator[Part]:
    texts: list[str | None] = []
    own: list[object] = []
    for text, row in rows:
        texts.append(text if isinstance(text, str) else None)
        own.append(row)
        if len(texts) == size:
            yield Part(texts, orjson.dumps(own))
            texts, own = [], []
    if texts:
        yield Part(texts, orjson.dumps(own))


def _shown(names: Sequence[str]) -> str:
    return ", ".join(name[:50] for name in names[:_SHOWN])


def _taken(names: Sequence[str], where: str) -> JobRefused:
    return JobRefused(
        f"{where} columns that would be added: {_shown(names)}; `prefix` gives the added ones "
        "other names",
        {"field": "prefix"},
    )
