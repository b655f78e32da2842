"""Cost surfaces: measured on the grid, interpolated between, kept for the next start."""

from pathlib import Path

import numpy as np
import pytest

from deployments.batching.cost_surface import CostSurface, host_fingerprint, keep, measure, recall


class Engine:
    """Takes ``1 ms + 10 µs`` per cell on a clock of its own."""

    def __init__(self) -> None:
        self.now = 0.0
        self.shapes: list[tuple[int, int]] = []

    def run(self, rows: int, tokens: int) -> None:
        self.shapes.append((rows, tokens))
        self.now += 1e-3 + 1e-5 * rows * tokens

    def measure(self, budget_s: float, max_rows: int = 8, max_cells: int = 1 << 20) -> CostSurface:
        return measure(
            self.run,
            max_rows=max_rows,
            max_tokens=100,
            max_cells=max_cells,
            budget_s=budget_s,
            clock=lambda: self.now,
        )


def test_measured_points_are_exact_and_between_them_it_is_linear() -> None:
    surface = Engine().measure(budget_s=10)
    assert surface.rows.tolist() == [1, 2, 4, 8]
    assert surface.tokens.tolist() == [8, 16, 32, 64, 100]
    table = surface.table(8, [16, 50, 100])
    assert table.shape == (8, 3)
    for rows in range(1, 9):
        for column, tokens in enumerate((16, 50, 100)):
            assert table[rows - 1, column] == pytest.approx(1e-3 + 1e-5 * rows * tokens, rel=1e-3)


def test_beyond_the_grid_the_last_slope_goes_on() -> None:
    table = Engine().measure(budget_s=10).table(16, [200])
    assert table[15, 0] == pytest.approx(1e-3 + 1e-5 * 16 * 200, rel=1e-2)


def test_one_row_alone_is_all_that_is_measured_where_texts_run_one_by_one() -> None:
    engine = Engine()
    surface = engine.measure(budget_s=10, max_rows=1)
    assert {rows for rows, _ in engine.shapes} == {1}
    assert surface.table(1, [50])[0, 0] == pytest.approx(1.5e-3, rel=1e-3)


def test_the_budget_ends_the_measurement_and_the_rest_is_estimated() -> None:
    engine = Engine()
    surface = engine.measure(budget_s=0)
    assert set(engine.shapes) == {(1, 8)}
    assert surface.seconds[-1, -1] == pytest.approx(surface.seconds[0, 0] * 8 * 100 / 8)
    engine = Engine()
    engine.measure(budget_s=0.05)
    assert engine.now < 0.1
    assert len(set(engine.shapes)) > 3


def test_an_estimate_is_by_the_widest_batch_of_that_length_else_by_the_next_shorter() -> None:
    surface = Engine().measure(budget_s=10, max_cells=64)
    assert surface.tokens.tolist() == [8, 16, 32, 64, 100]
    by_hand = {(1, 64): 1.64e-3, (2, 64): 2 * 1.64e-3, (8, 16): 2 * 1.64e-3}
    by_hand |= {(1, 100): 1.64e-3 * 100 / 64, (8, 100): 8 * 1.64e-3 * 100 / 64}
    for (rows, tokens), seconds in by_hand.items():
        assert surface.table(8, [tokens])[rows - 1, 0] == pytest.approx(seconds, rel=1e-3)


def test_neither_a_shapes_first_run_nor_one_disturbed_run_counts() -> None:
    engine = Engine()
    plain = engine.run

    def disturbed(rows: int, tokens: int) -> None:
        first = (rows, tokens) not in engine.shapes
        plain(rows, tokens)
        engine.now += 0.5 * first + 0.5 * (len(engine.shapes) % 7 == 0)

    engine.run = disturbed  # type: ignore[method-assign]
    assert np.allclose(engine.measure(budget_s=1_000).seconds, Engine().measure(10).seconds)


def test_batches_that_may_not_run_are_not_measured() -> None:
    engine = Engine()
    engine.measure(budget_s=10, max_cells=64)
    assert max(rows * tokens for rows, tokens in engine.shapes) == 64


def test_kept_and_recalled_by_fingerprint(tmp_path: Path) -> None:
    surface = Engine().measure(budget_s=10)
    keep(tmp_path, "host", surface)
    found = recall(tmp_path, "host")
    assert found is not None
    assert np.array_equal(found.seconds, surface.seconds)
    assert recall(tmp_path, "other") is None


@pytest.mark.parametrize(
    "damage", ["", "{}", "[]", '{"rows":[1],"tokens":[8],"seconds":[[0]]}', '{"rows":[1]']
)
def test_a_damaged_file_counts_as_none(tmp_path: Path, damage: str) -> None:
    keep(tmp_path, "host", Engine().measure(budget_s=0))
    (file,) = (tmp_path / "surfaces").iterdir()
    file.write_text(damage, encoding="utf-8")
    assert recall(tmp_path, "host") is None


def test_another_engine_or_thread_count_is_another_host() -> None:
    assert host_fingerprint("cpu", 1) == host_fingerprint("cpu", 1)
    assert (
        len({host_fingerprint("cpu", 1), host_fingerprint("cpu", 2), host_fingerprint("gpu", 1)})
        == 3
    )
