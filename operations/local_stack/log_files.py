"""Serve's log files as one stream of JSON lines: what replicas write, as they write it."""

import json
import time
from collections.abc import Callable, Iterator
from io import TextIOWrapper
from pathlib import Path

_POLL_S = 0.5


class LogFiles:
    """All ``*.log`` of a folder, also those that come later or are rotated."""

    def __init__(self, folder: Path, *, from_start: bool) -> None:
        """Starts at the ends of the files that are there, or ``from_start``."""
        self._folder = folder
        self._open: dict[int, TextIOWrapper] = {}
        self._partial: dict[int, str] = {}
        for path in self._paths():
            self._add(path, at_end=not from_start)

    def read(self) -> Iterator[str]:
        """The complete lines that came since the last call, each a JSON object.

        A line that is none becomes the ``message`` of one, with the name of its ``file``.
        """
        for path in self._paths():
            self._add(path, at_end=False)
        for number in list(self._open):
            yield from self._lines(number)

    def follow(self, is_over: Callable[[], bool] = lambda: False) -> Iterator[str]:
        """``read`` for ever, or until ``is_over``."""
        while True:
            ended = is_over()
            yield from self.read()
            if ended:
                return
            time.sleep(_POLL_S)

    def close(self) -> None:
        """Closes the files."""
        for file in self._open.values():
            file.close()
        self._open.clear()

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("*.log"))

    def _add(self, path: Path, *, at_end: bool) -> None:
        try:
            number = path.stat().st_ino
            if number in self._open:
                return
            file = path.open(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return
        if at_end:
            file.seek(0, 2)
        self._open[number] = file

    def _lines(self, number: int) -> Iterator[str]:
        file = self._open[number]
        text = self._partial.pop(number, "") + file.read()
        *lines, rest = text.split("\n")
        if rest:
            self._partial[number] = rest
        for line in filter(None, lines):
            yield line if _is_object(line) else _wrapped(line, file.name)
        # Rotated away and removed, and read to its end.
        if not text and not Path(file.name).exists():
            file.close()
            del self._open[number]


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _wrapped(line: str, name: str) -> str:
    return json.dumps({"file": Path(name).name, "message": line}, ensure_ascii=False)
