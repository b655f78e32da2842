"""What a batch costs: seconds by (rows, tokens), measured on the engine that will run it.

At warm-up each replica times its engine on a small grid; between the grid's points cost is
interpolated. The surface is kept beside the bundle for each kind of host, so a restart
reads it instead. ``planner.py`` cuts windows by it, the ingress predicts waits by it.
"""

import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np

from deployments.payloads import FloatArray, IntArray

_ROWS = (1, 2, 4, 8, 16, 32, 64, 128)
_TOKENS = (8, 16, 32, 64, 128, 256, 512)
_MAX_REPEATS = 5
# To be raised when what is measured changes: surfaces kept before count no more.
_METHOD = 2


@dataclass(frozen=True, slots=True)
class CostSurface:
    """Seconds of one engine batch.

    Attributes:
        rows: ``[r]``, rising, from 1.
        tokens: ``[t]``, rising: padded lengths.
        seconds: ``[r, t]``, above 0.
    """

    rows: FloatArray
    tokens: FloatArray
    seconds: FloatArray
    _by_rows: dict[int, list[float]] = field(default_factory=dict, repr=False, compare=False)

    def by_rows(self, tokens: int, max_rows: int) -> list[float]:
        """Seconds of 1 to at least ``max_rows`` rows of a length; kept, so do not change it."""
        found = self._by_rows.get(tokens, [])
        if len(found) < max_rows:
            found = self._by_rows[tokens] = self.table(max_rows, [tokens])[:, 0].tolist()
        return found

    def table(self, max_rows: int, tokens: Sequence[int] | IntArray) -> FloatArray:
        """``[max_rows, len(tokens)] float32``: cost of 1 to ``max_rows`` rows of each length.

        Bilinear between measured points; beyond the last one the last slope goes on.
        """
        rows = np.arange(1, max_rows + 1, dtype=np.float32)
        by_rows = _interpolate(rows, self.rows, self.seconds)
        cost = _interpolate(np.asarray(tokens, dtype=np.float32), self.tokens, by_rows.T).T
        floor = np.float32(self.seconds.min() / 16)
        result: FloatArray = np.maximum(cost, floor).astype(np.float32)
        return result

    def to_json(self) -> str:
        """For ``from_json``."""
        return json.dumps(
            {name: getattr(self, name).tolist() for name in ("rows", "tokens", "seconds")}
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """A surface that ``to_json`` wrote.

        Raises:
            ValueError: It is none.
        """
        try:
            fields = json.loads(text)
            rows, tokens, seconds = (
                np.array(fields[name], dtype=np.float32) for name in ("rows", "tokens", "seconds")
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a cost surface: {error}") from error
        whole = rows.ndim == tokens.ndim == 1 and seconds.shape == (len(rows), len(tokens))
        if not (whole and seconds.size and np.isfinite(seconds).all() and (seconds > 0).all()):
            raise ValueError("not a cost surface: wrong shape or values")
        return cls(rows, tokens, seconds)


def _interpolate(at: FloatArray, known: FloatArray, values: FloatArray) -> FloatArray:
    """``values`` ``[k, …]`` at points ``known`` ``[k]``, linear, to points ``at`` ``[n]``."""
    if len(known) == 1:
        return np.asarray(values[:1] * (at / known[0])[:, None], dtype=np.float32)
    left = np.clip(np.searchsorted(known, at, side="right") - 1, 0, len(known) - 2)
    weight = (at - known[left]) / (known[left + 1] - known[left])
    return np.asarray(
        values[left] * (1 - weight)[:, None] + values[left + 1] * weight[:, None], dtype=np.float32
    )


def measure(
    run: Callable[[int, int], object],
    *,
    max_rows: int,
    max_tokens: int,
    max_cells: int,
    budget_s: float,
    clock: Callable[[], float] = time.perf_counter,
) -> CostSurface:
    """Times ``run(rows, tokens)`` on the grid, small batches first, over and over.

    The best time of a point counts: on a shared machine the least disturbed one is nearest to
    the truth. What is above ``max_cells``, or does not fit into ``budget_s``, is estimated from
    the widest batch measured of that length, else of the next shorter one, by its cells.

    Args:
        run: Runs one batch of that many rows, all of that many tokens.
        max_rows: Rows that a batch may have.
        max_tokens: Tokens that a text may have.
        max_cells: Rows times tokens that a batch may have.
        budget_s: Time for the whole measurement; at least the smallest batch is measured.
        clock: Seconds.
    """
    rows = [n for n in _ROWS if n < max_rows] + [max_rows]
    tokens = [n for n in _TOKENS if n < max_tokens] + [max_tokens]
    seconds = np.full((len(rows), len(tokens)), np.nan, dtype=np.float32)
    grid = sorted(np.ndindex(seconds.shape), key=lambda at: rows[at[0]] * tokens[at[1]])
    points = [grid[0], *(at for at in grid[1:] if rows[at[0]] * tokens[at[1]] <= max_cells)]
    ends_s = clock() + budget_s
    # The first round runs each point twice: the first run of a shape also makes its buffers.
    for at in [at for at in points for _ in range(2)] + points * (_MAX_REPEATS - 2):
        guess_s = _estimate(seconds, rows, tokens, at)
        if guess_s and clock() + guess_s > ends_s:
            break
        before = clock()
        run(rows[at[0]], tokens[at[1]])
        seconds[at] = np.fmin(seconds[at], max(clock() - before, 1e-7))
    for at in grid:
        seconds[at] = _estimate(seconds, rows, tokens, at)
    return CostSurface(
        np.array(rows, dtype=np.float32), np.array(tokens, dtype=np.float32), seconds
    )


def _estimate(
    seconds: FloatArray, rows: Sequence[int], tokens: Sequence[int], at: tuple[int, int]
) -> float:
    """A measured point's seconds, else by cells from the nearest one below it; 0 before any."""
    for column in range(at[1], -1, -1):
        known = np.flatnonzero(np.isfinite(seconds[: at[0] + 1, column]))
        if known.size:
            row = known[-1]
            cells = rows[at[0]] * tokens[at[1]] / (rows[row] * tokens[column])
            return float(seconds[row, column] * cells)
    return 0.0


def host_fingerprint(*parts: object) -> str:
    """Short digest of what decides a model's speed here: processor, cores, and ``parts``."""
    facts = (_METHOD, _processor(), os.cpu_count(), *parts)
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    # The first processor's model and flags; its clock and number change between readings.
    return "\n".join(
        sorted({x for x in lines if x.startswith(("model name", "flags", "Features"))})
    )


def keep(folder: Path, fingerprint: str, surface: CostSurface) -> None:
    """Writes ``surface`` for the next start; the last of several replicas wins."""
    file = _file(folder, fingerprint)
    file.parent.mkdir(parents=True, exist_ok=True)
    staging = file.with_suffix(f".{os.getpid()}.tmp")
    staging.write_text(surface.to_json(), encoding="utf-8")
    staging.rename(file)


def recall(folder: Path, fingerprint: str) -> CostSurface | None:
    """The surface that ``keep`` wrote for it, or None; a damaged file counts as none."""
    try:
        return CostSurface.from_json(_file(folder, fingerprint).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def _file(folder: Path, fingerprint: str) -> Path:
    return folder / "surfaces" / f"{fingerprint}.json"
