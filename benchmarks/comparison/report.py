"""Table and charts of a raw file: ``python -m benchmarks.comparison.report RAW.json``."""

import argparse
import sys
from pathlib import Path

from benchmarks.comparison.charts import write_charts
from benchmarks.comparison.record import Record
from benchmarks.comparison.table import markdown


def write_report(raw: Path) -> list[Path]:
    """Writes the Markdown report and the charts beside the raw file; returns their paths.

    Raises:
        ValueError: It is not a raw file.
    """
    record = Record.read(raw)
    table = raw.with_suffix(".md")
    table.write_text(markdown(record), encoding="utf-8")
    return [table, *write_charts(record, raw.with_suffix(""))]


def main() -> int:
    """Renders a raw file; 2 if it is not one."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.comparison.report", description=__doc__
    )
    parser.add_argument("raw", type=Path)
    try:
        for path in write_report(parser.parse_args().raw):
            print(path)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
