"""What a run is, written down before it begins, so that the next start goes on with it.

Which model is part of the plan: a run that was broken off goes on with the version that it
began with, wherever the alias has moved since.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace

from pipelines.errors import ScoreError
from pipelines.scoring.storage import FileInfo, Location

_NAME = "_plan.json"
_PART = re.compile(r"part-(\d+)-(\d+)-(\d+)\.\w+")


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that decides what comes out.

    Attributes:
        source: The input as it was named.
        files: Its files: path, bytes, time of change.
        column: The text's.
        separator: Between columns of CSV.
        part_rows: Rows of a part.
        written: Kind of output.
        prefix: Before added columns.
        asked: The model as it was named: alias, version or bundle folder.
        name: The registered model, or the bundle's name.
        version: Its version; 0 for a bundle folder.
        digest: The bundle's.
        max_text_chars: Longer texts are errors.
        reproducible: Whether a text's scores depend on the texts beside it.
    """

    source: str
    files: tuple[tuple[str, int, int], ...]
    column: str
    separator: str
    part_rows: int
    written: str
    prefix: str
    asked: str
    name: str
    version: int
    digest: str
    max_text_chars: int
    reproducible: bool


def file_facts(files: Sequence[FileInfo]) -> tuple[tuple[str, int, int], ...]:
    """What tells that files have changed."""
    return tuple((file.path, file.size, file.changed_ns) for file in files)


def is_kept(parts: Location) -> bool:
    """Whether a run wrote a plan there, one that can be read or not."""
    return _NAME in parts.names()


def recall(parts: Location) -> Plan | None:
    """The plan of a run that was broken off; None when there is none.

    Raises:
        ScoreError: It cannot be read.
    """
    if not is_kept(parts):
        return None
    try:
        kept = json.loads(parts.below(_NAME).read())
        kept["files"] = tuple(tuple(file) for file in kept["files"])
        return Plan(**kept)
    except (ValueError, KeyError, TypeError) as error:
        raise ScoreError(f"{parts.below(_NAME).uri} is no plan; --restart begins anew") from error


def keep(parts: Location, plan: Plan) -> None:
    """Writes the plan down."""
    parts.make_folder()
    parts.below(_NAME).write([json.dumps(asdict(plan), indent=1).encode()])


def check_same(kept: Plan, now: Plan) -> None:
    """Refuses to mix two runs.

    Raises:
        ScoreError: They differ in what is named.
    """
    now = replace(now, asked=kept.asked)
    differ = [f.name for f in fields(Plan) if getattr(kept, f.name) != getattr(now, f.name)]
    if differ:
        raise ScoreError(
            f"a run that was broken off had another {', '.join(differ)}: repeat its command, or "
            "begin anew with --restart"
        )


def finished(parts: Location) -> dict[int, tuple[str, int, int]]:
    """Scored parts by number: file name, rows, failed rows."""
    found = {}
    for name in parts.names():
        if match := _PART.fullmatch(name):
            number, rows, failed = map(int, match.groups())
            found[number] = (name, rows, failed)
    return found
