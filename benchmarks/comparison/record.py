"""The raw file of a run: everything that was measured, written after every step.

One JSON file, so that a run can be stopped and resumed, and a reader can redo every table from
it with ``python -m benchmarks.comparison.report``.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.comparison.catalogue import Setting

FORMAT = 3
CLOSED, OPEN, CACHED = "closed", "open", "cached"


@dataclass(frozen=True, slots=True)
class Case:
    """What was measured: the key of a row.

    Attributes:
        model: ``minilm`` or ``distilbert``.
        peer: Name in the catalogue.
        workload: Name of the texts.
        load: ``closed``, ``open``, or ``cached``: closed loop over texts that were just answered.
        concurrency: Of a closed loop.
        factor: Open loop: rate over the pace of the bare engine; 0 otherwise.
        deadline_ms: Sent with each request where the server knows deadlines; 0 for none.
        turn: From 1 where systems take turns; 0 where each is measured once.
    """

    model: str
    peer: str
    workload: str
    load: str
    concurrency: int = 0
    factor: float = 0.0
    deadline_ms: int = 0
    turn: int = 0


class Record:
    """The raw file in memory; ``save`` after each addition."""

    def __init__(self, path: Path, content: dict[str, Any]) -> None:
        self.path = path
        self.content = content
        for part in ("bare", "rows", "grids", "comparisons", "failures"):
            content.setdefault(part, [])
        self._commit = content.get("commit", "")

    @classmethod
    def read(cls, path: Path) -> "Record":
        """Opens a raw file.

        Raises:
            ValueError: It is not one, or of another format.
        """
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.get("format") != FORMAT:
            raise ValueError(f"{path} is not a raw file of format {FORMAT}")
        return cls(path, content)

    def go_on(self, command: str, commit: str) -> None:
        """Notes that another run adds to the file, with the code of ``commit``."""
        self._commit = commit
        self.content.setdefault("resumed", []).append(command)

    def commits(self, peer: str) -> list[str]:
        """With which code a peer's rows were measured, the first one first."""
        of_rows = [row.get("commit", self.content["commit"]) for row in self.rows(peer=peer)]
        return list(dict.fromkeys(of_rows))

    def save(self) -> None:
        """Writes the file; a reader never sees half of it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(".tmp")
        text = json.dumps(self.content, indent=1, ensure_ascii=False)
        draft.write_text(text + "\n", encoding="utf-8")
        draft.replace(self.path)

    def rows(self, **wanted: object) -> Iterator[dict[str, Any]]:
        """Rows that have these values."""
        for row in self.content["rows"]:
            if all(row[name] == value for name, value in wanted.items()):
                yield row

    def has(self, case: Case) -> bool:
        """Whether this case was measured already."""
        return next(self.rows(**asdict(case)), None) is not None

    def add_row(self, case: Case, setting: Setting | None, facts: dict[str, object]) -> None:
        """Adds a measured case."""
        shown = asdict(setting) if setting else None
        row = {**asdict(case), "setting": shown, "commit": self._commit, **facts}
        self.content["rows"].append(row)
        self.save()

    @property
    def count(self) -> int:
        """Rows so far."""
        return len(self.content["rows"])

    def note_bare(
        self, first_row: int, before: tuple[float, float], after: tuple[float, float]
    ) -> None:
        """Notes the bare engine's pace beside the closed loops over real texts of one visit.

        Args:
            first_row: Of the visit.
            before: Texts per second and milliseconds of one text, before the server started.
            after: The same after it had stopped.
        """
        for row in self.content["rows"][first_row:]:
            if (row["load"], row["workload"]) == (CLOSED, "real"):
                row["bare_per_s"] = [before[0], after[0]]
                row["bare_p50_ms"] = [before[1], after[1]]
        self.save()

    def note_failure(self, model: str, peer: str, step: str, reason: str) -> None:
        """Notes why a step of a peer gave nothing, in place of what was noted before.

        Args:
            model: Of the step.
            peer: Of the step.
            step: Its label.
            reason: Empty when it went well.
        """
        kept = [note for note in self.content["failures"] if note["step"] != step]
        if reason:
            kept.append({"model": model, "peer": peer, "step": step, "reason": reason})
        self.content["failures"] = kept
        self.save()

    def grid_of(self, model: str, peer: str) -> dict[str, Any] | None:
        """The tried settings of a peer and the winner; None before the search."""
        return next(
            (g for g in self.content["grids"] if (g["model"], g["peer"]) == (model, peer)), None
        )

    def best(self, model: str, peer: str) -> Setting | None:
        """The winner of a peer's grid."""
        grid = self.grid_of(model, peer)
        return Setting(**grid["winner"]) if grid else None
