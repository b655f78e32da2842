"""The index of decisions lists every one, by the title that it has."""

from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs" / "decisions"


def test_the_index_lists_every_decision() -> None:
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    for path in sorted(FOLDER.glob("0*.md")):
        number, _, title = path.read_text(encoding="utf-8").partition("\n")[0][2:].partition(": ")
        row = f"| [{number}]({path.name}) | {title[0].upper()}{title[1:]} |"
        assert row in index, f"docs/decisions/README.md lacks: {row}"
