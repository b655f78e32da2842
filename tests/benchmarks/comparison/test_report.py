"""From a raw file to table, targets and charts."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from benchmarks.comparison.catalogue import Setting
from benchmarks.comparison.record import CACHED, CLOSED, FORMAT, OPEN, Case, Record
from benchmarks.comparison.report import write_report
from benchmarks.comparison.summary import bare_paces, closed_lines
from benchmarks.comparison.table import cell, markdown, rows_to_table
from benchmarks.comparison.targets import targets
from benchmarks.comparison.turns import ratios, turns

FIGURES = {
    "requests": 100,
    "ok": 100,
    "throughput_per_s": 100.0,
    "goodput_per_s": 90.0,
    "p50_ms": 10.0,
    "p95_ms": 20.0,
    "p99_ms": 30.0,
    "shed": 0,
    "errors": 0,
    "unanswered": 0,
    "refusal_p99_ms": None,
    "cached": 0,
    "server_cpu_s_per_1000": 5.0,
    "generator_cpu_s_per_1000": 0.2,
    "rss_mb": 512.0,
    "pss_mb": 300.0,
    "boot_s": 3.0,
}
OURS = Case("minilm", "ours-split", "real", CLOSED, 64)
MOSEC = replace(OURS, peer="mosec")
AS_IT_IS, USUAL, ALONE = Setting(0, 0.0, 0), Setting(32, 5.0, 2), Setting(1, 0.0, 2)


@pytest.fixture
def record(tmp_path: Path) -> Record:
    content = {
        "format": FORMAT,
        "scope": "bench",
        "command": "python -m benchmarks",
        "date": "2026-11-23T00:00:00+00:00",
        "machine": {
            "processor": "A | B",
            "flags": ["avx2"],
            "cores": 2.0,
            "memory_gb": 24.0,
            "kernel": "6.1",
        },
        "load_average_at_start": 0.1,
        "versions": {"peer mosec": "mosec 0.9.8"},
        "commit": "f" * 40,
        "models": {"minilm": {"digest": "d", "bytes": 1}},
        "bare": [
            {
                "model": "minilm",
                "when": when,
                "texts_per_s": {"one by one": pace, "planned": 300.0},
                "p50_ms": 4.0,
            }
            for when, pace in (("start", 380.0), ("end", 420.0))
        ],
    }
    record = Record(tmp_path / "raw.json", content)
    record.add_row(OURS, AS_IT_IS, {**FIGURES, "throughput_per_s": 340.0})
    record.add_row(MOSEC, ALONE, {**FIGURES, "throughput_per_s": 250.0, "shed": 7})
    return record


def take_turns(record: Record, peer: str, setting: Setting, scale: tuple[float, ...]) -> None:
    """Turns of ``peer``; figures of the first as in ``FIGURES``, of others larger by ``scale``."""
    for turn, factor in enumerate(scale, 1):
        first_row = record.count
        case = replace(OURS, peer=peer, turn=turn)
        slower = {**FIGURES, "server_cpu_s_per_1000": 5 * factor, "throughput_per_s": 320 / factor}
        slower |= {"p50_ms": 10 * factor, "p99_ms": 30 * factor}
        record.add_row(replace(case, concurrency=1), setting, slower)
        half = replace(case, load=OPEN, concurrency=0, factor=0.5)
        record.add_row(half, setting, {**slower, "rate_per_s": 200.0})
        record.add_row(case, setting, slower)
        record.note_bare(first_row, (390.0, 8.0), (410.0, 9.0))


def test_the_bare_engine_is_its_best_policy_over_the_whole_run(record: Record) -> None:
    assert bare_paces(record, "minilm") == {"one by one": 400.0, "planned": 300.0}
    assert "| **sentigraph, split** | as it is | 5.00 | 340 | 0.85 |" in markdown(record)


def test_rows_are_sorted_and_troubles_shown(record: Record) -> None:
    assert [one.peer for one in closed_lines(record, "minilm")] == ["ours-split", "mosec"]
    text = markdown(record)
    assert "| mosec | no batching, 2 workers | 5.00 | 250 |" in text
    assert "| 7 shed |" in text
    assert "mosec 0.9.8" in text


def test_turns_are_medians_with_their_spread_and_cpu_comes_first(record: Record) -> None:
    take_turns(record, "ours-split", AS_IT_IS, (1.0, 1.2, 1.1))
    take_turns(record, "mosec", ALONE, (1.5, 1.8, 2.2))
    ours, peer = turns(record, "minilm")
    assert (ours.peer.name, peer.peer.name) == ("ours-split", "mosec")
    table = markdown(record).partition("### In turn")[2]
    assert table.startswith(": median (lowest to highest) of 3 turns")
    cpu = "5.50 (5.00 to 6.00)"
    assert f"| **sentigraph, split** | as it is | {cpu} | {cpu} |" in table
    # 2 cores at 400 texts/s are 5 ms a text.
    assert "| *bare engine* |  |  | 5.00 | 4.00 |" in table


def test_ratios_are_taken_within_a_turn(record: Record) -> None:
    take_turns(record, "ours-split", AS_IT_IS, (1.0, 1.2, 1.1))
    take_turns(record, "mosec", ALONE, (1.5, 1.8, 2.2))
    found = ratios(record, "minilm", "ours-split", "mosec")
    pace, cpu = found["texts/s"], found["CPU"]
    assert (pace.median, pace.low, pace.high) == pytest.approx((1.5, 1.5, 2.0))
    assert (cpu.median, cpu.low, cpu.high) == pytest.approx((2 / 3, 0.5, 2 / 3))
    assert "| sentigraph, split / mosec | 1.50 (1.50 to 2.00) |" in markdown(record)


def test_targets_are_judged_by_turns(record: Record) -> None:
    take_turns(record, "ours-split", AS_IT_IS, (1.0, 1.0, 1.25))
    take_turns(record, "mosec", ALONE, (1.5, 1.5, 1.5))
    found = {target.what: target for target in targets(record, "minilm")}
    name = "sentigraph, split"
    by_rate = found[f"{name}: share of the bare engine by rate, at least"]
    assert (by_rate.measured, by_rate.met) == (0.8, True)
    by_cpu = found[f"{name}: share of the bare engine by CPU, at least"]
    assert (by_cpu.measured, by_cpu.met) == (1.0, True)
    over = found[f"{name}: ms over the bare engine, one connection, at most"]
    assert (over.measured, over.met) == (1.5, True)
    times = found[f"{name}: texts/s over that of mosec, its best setting, at least"]
    assert (times.measured, times.met) == (1.5, True)
    slower = found[f"{name}: p99 over that of mosec, its best setting, at most"]
    assert (slower.measured, slower.met) == (0.667, True)


def test_missed_targets_say_so(record: Record) -> None:
    record.add_row(replace(OURS, load=CACHED), AS_IT_IS, {**FIGURES, "throughput_per_s": 900.0})
    for peer, p99_ms in (("ours-split", 31.0), ("mosec", 30.0)):
        for factor in (0.5, 3.0):
            case = replace(OURS, peer=peer, load=OPEN, concurrency=0, factor=factor)
            row = {**FIGURES, "rate_per_s": factor * 400, "p99_ms": p99_ms}
            record.add_row(case, AS_IT_IS if peer != "mosec" else ALONE, row)
    for factor, goodput in ((1.0, 300.0), (2.0, 150.0)):
        case = replace(OURS, load=OPEN, concurrency=0, factor=factor, deadline_ms=100)
        facts = {"rate_per_s": factor * 400, "goodput_per_s": goodput, "refusal_p99_ms": 4.0}
        record.add_row(case, AS_IT_IS, {**FIGURES, **facts})
    judged = targets(record, "minilm")
    missed = {target.what: target.measured for target in judged if not target.met}
    sent = "sentigraph, split, 100 ms deadline sent"
    assert missed == {
        "sentigraph, split: requests/s, all from the cache, at least": 900.0,
        "sentigraph, split: p99 ms at 200/s, against the best peer's, at most": 31.0,
        f"{sent}, 800/s: goodput over its best, at least": 0.5,
    }
    assert len(judged) == 6
    assert markdown(record).count("**no**") == 3


def test_a_step_that_failed_is_told_until_it_goes_well(record: Record) -> None:
    record.note_failure("minilm", "bentoml", "minilm: bentoml, usual", "status 503")
    assert "| minilm: bentoml, usual | status 503 |" in markdown(record)
    record.note_failure("minilm", "bentoml", "minilm: bentoml, usual", "")
    assert "Not measured" not in markdown(record)


def test_a_raw_file_is_resumed_where_it_was(record: Record) -> None:
    again = Record.read(record.path)
    assert again.has(OURS)
    assert not again.has(replace(OURS, turn=1))
    assert again.content == record.content
    again.go_on("python -m benchmarks --resume raw.json", "e" * 40)
    again.add_row(replace(OURS, turn=1), AS_IT_IS, {**FIGURES})
    report = markdown(again)
    assert (
        "commit `ffffffffffff`; gone on with by `python -m benchmarks --resume raw.json`." in report
    )
    assert "| sentigraph, split | ffffffffffff, eeeeeeeeeeee |" in report
    assert "| sentigraph, split | ffffffffffff |" in markdown(record)


def test_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text(json.dumps({"command": "make bench"}))
    with pytest.raises(ValueError, match="not a raw file"):
        Record.read(tmp_path / "old.json")


def test_table_cells() -> None:
    assert [cell(value) for value in (None, 1234.4, 99.96, 12.34, 0.123)] == [
        "",
        "1,234",
        "100.0",
        "12.3",
        "0.12",
    ]
    assert rows_to_table(["a", "b"], [["x|y", 1]]) == "| a | b |\n| --- | ---: |\n| x\\|y | 1 |"


def test_report_files_are_written(record: Record) -> None:
    case = replace(OURS, load=OPEN, concurrency=0, factor=1.0)
    record.add_row(case, AS_IT_IS, {**FIGURES, "rate_per_s": 340.0})
    table, *charts = write_report(record.path)
    assert table.read_text().startswith("# Benchmark of 2026-11-23")
    assert {chart.name for chart in charts} == {
        "raw-minilm-throughput.png",
        "raw-minilm-open-loop.png",
    }
    assert all(chart.read_bytes().startswith(b"\x89PNG") for chart in charts)


def test_a_setting_reads_as_words() -> None:
    assert str(USUAL) == "batch 32, 5 ms, 2 workers"
    assert str(Setting(1, 0.0, 2, 1)) == "no batching, 2 workers, 1 at once"
    assert Setting(**asdict(USUAL)) == USUAL
