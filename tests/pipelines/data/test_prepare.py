"""Which text goes where: duplicates, splits, foreign files."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from cli.__main__ import main
from pipelines.data.icwsm import LEXICON
from pipelines.data.near_duplicates import text_digest, without_near_duplicates
from pipelines.data.prepare import build_table, read_files, split_of
from pipelines.data.table import Row, Table, read_manifest, read_table
from pipelines.errors import DatasetError

LABELS = ("negative", "positive")


def rows(count: int = 400) -> list[Row]:
    """Returns texts that share no 5-gram to speak of."""
    words = [text_digest(str(number)) for number in range(count)]
    return [
        Row(
            text=" ".join((word[:9], word[9:20], word[20:33], word[33:])),
            label=LABELS[at % 2],
            target=None,
            domain="all",
        )
        for at, word in enumerate(words)
    ]


def build(items: list[Row], out: Path) -> Table:
    return build_table(items, LABELS, out, origin="test")


def test_splits_are_disjoint_and_do_not_depend_on_the_other_rows(tmp_path: Path) -> None:
    whole = build(rows(), tmp_path / "whole")
    places = {row.text: row.split for row in whole.rows}
    assert {split for split in places.values()} == {"train", "validation", "test"}
    part = build(rows()[100:][::-1], tmp_path / "part")
    assert all(places[row.text] == row.split for row in part.rows)


def test_the_texts_of_a_group_stay_together(tmp_path: Path) -> None:
    grouped = [replace(row, group=f"document {at // 8}") for at, row in enumerate(rows())]
    table = build(grouped, tmp_path / "grouped")
    splits: dict[str, set[str]] = {}
    for row in table.rows:
        splits.setdefault(row.group, set()).add(row.split)
    assert all(len(found) == 1 for found in splits.values())
    assert read_table(tmp_path / "grouped").rows == table.rows


def test_near_duplicates_never_straddle_splits(tmp_path: Path) -> None:
    originals = rows()
    twins = [Row(row.text.upper() + " !!", row.label, None, "all") for row in originals[:100]]
    twins += [Row("x" + row.text, row.label, None, "all") for row in originals[100:200]]
    # The planted twins would really have gone elsewhere.
    assert any(split_of("x" + row.text) != split_of(row.text) for row in originals[100:200])
    table = build(originals + twins, tmp_path)
    assert {row.text for row in table.rows} == {row.text for row in originals}


def test_rows_that_are_dropped_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    originals = rows()
    twins = [replace(row, text=f"{row.text} !!") for row in originals[:40]]
    torn = [
        replace(row, text=f"x{row.text}", label=LABELS[row.label == LABELS[0]])
        for row in originals[40:70]
    ]
    lines = [json.dumps({"text": row.text, "label": row.label}) for row in originals + twins + torn]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    given = ["data", "--input", str(tmp_path / "in.jsonl"), "--out", str(tmp_path / "out")]
    assert main(given) == 0
    assert (
        "dropped of 470 rows: 70 near duplicates, 30 of them with another label than the text "
        "that was kept" in capsys.readouterr().err
    )
    assert main([*given, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["near_duplicates_removed"] == 70
    assert found["conflicting_labels_removed"] == 30
    assert read_manifest(tmp_path / "out").conflicting_labels_removed == 30


def test_nothing_is_told_where_nothing_is_dropped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build(rows(), tmp_path)
    assert read_manifest(tmp_path).dropped() == ""
    assert "dropped" not in capsys.readouterr().err


def test_different_emoticons_are_not_duplicates() -> None:
    kept, _ = without_near_duplicates(
        [Row(text, None, 0.5, LEXICON) for text in (":)", ":(", ":)", "8-)")]
    )
    assert [row.text for row in kept] == [":)", ":(", "8-)"]


def test_lexicon_entries_train_only_and_unlabelled_texts_are_never_scored(tmp_path: Path) -> None:
    extra = [
        Row(f"{text_digest(str(at))[:30]} word", None, 0.5, LEXICON) for at in range(1000, 1100)
    ]
    torn = [Row(text_digest(str(at)), None, 0.5, "all") for at in range(2000, 2100)]
    table = build(rows() + extra + torn, tmp_path)
    assert all(row.split == "train" for row in table.rows if row.domain == LEXICON)
    assert all(row.split == "train" for row in table.rows if row.label is None)
    assert sum(row.domain == LEXICON for row in table.rows) == 100


def test_a_table_reads_back_and_a_changed_one_is_refused(tmp_path: Path) -> None:
    table = build(rows(), tmp_path)
    assert read_table(tmp_path) == table
    frame = pd.read_parquet(tmp_path / "dataset.parquet")
    frame.loc[0, "label"] = "positive" if frame.loc[0, "label"] == "negative" else "negative"
    frame.to_parquet(tmp_path / "dataset.parquet", index=False)
    with pytest.raises(DatasetError, match="digest"):
        read_table(tmp_path)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_foreign_files_with_any_number_of_classes(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"tickets{suffix}"
    frame = pd.DataFrame({"text": ["a b", "c, d", "e\nf"], "label": ["bug", "praise", "question"]})
    if suffix == ".csv":
        frame.to_csv(path, index=False)
    elif suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in frame.to_dict("records")))
    else:
        frame.to_parquet(path)
    assert [(row.text, row.label) for row in read_files([path])] == list(
        frame.itertuples(index=False, name=None)
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,stars\na,1\n", "no column 'label'; it has text, stars; name it with --label-column"),
        ("text,label\na,x\nb,\n", "1 rows have an empty label, first row 2"),
        ("text,label\na,x\nb,x\n", "all 2 rows have the label 'x'"),
        ("text,label\n", "no texts in it"),
    ],
)
def test_unusable_files_are_refused_with_the_reason(
    tmp_path: Path, content: str, message: str
) -> None:
    path = tmp_path / "file.csv"
    path.write_text(content)
    with pytest.raises(DatasetError, match=message):
        read_files([path])


def test_an_unknown_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"not a file that ends in \.csv"):
        read_files([tmp_path / "file.xlsx"])


def test_a_label_without_test_texts_is_refused(tmp_path: Path) -> None:
    few = [row for row in rows() if row.label == "negative" or split_of(row.text) != "test"]
    with pytest.raises(DatasetError, match="no test text has the label positive"):
        build(few, tmp_path)
