"""The first row of CSV as people have it, and which separator its columns have.

Used by jobs and by `score`, `evaluate` and `data`, so that each takes the files of the others.
"""

import csv
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from deployments.jobs.file_kind import suffix_of

_SEPARATORS = {".csv": ",;\t|", ".tsv": "\t", ".txt": "\t,;|"}


@dataclass(frozen=True, slots=True)
class CsvHeader:
    """What a CSV file's first row says.

    Attributes:
        names: Of the columns, without white space around them.
        separator: Between columns.
        lines: Lines of the file up to the end of this row, empty ones included.
    """

    names: list[str]
    separator: str
    lines: int


def separators_of(name: str) -> str:
    """The separators that a file may have by its name, the most likely first."""
    return _SEPARATORS.get(suffix_of(name), _SEPARATORS[".csv"])


def read_header(
    lines: Iterator[str], separators: str, column: str
) -> tuple[CsvHeader, Iterator[str]]:
    """Returns the header and the lines after it.

    The separator is the first that gives a column of the wanted name, else the one that gives the
    most columns. A file without rows has no names.

    Raises:
        csv.Error: The first row is no CSV with any separator.
    """
    seen: list[str] = []
    found: list[CsvHeader] = []
    failed: csv.Error | None = None
    for separator in separators:
        reader = csv.reader(_again(seen, lines), delimiter=separator, strict=True)
        try:
            row = next(filter(None, reader), [])
        except csv.Error as error:
            failed = failed or error
            continue
        found.append(CsvHeader([name.strip() for name in row], separator, reader.line_num))
    if not found:
        raise failed or csv.Error("there is no separator to read it with")
    fitting = (header for header in found if column in header.names)
    header = next(fitting, None) or max(found, key=lambda each: len(each.names))
    return header, itertools.chain(seen[header.lines :], lines)


def _again(seen: list[str], lines: Iterator[str]) -> Iterator[str]:
    """The lines from the first on; those that are read from `lines` are added to `seen`."""
    yield from list(seen)
    for line in lines:
        seen.append(line)
        yield line
