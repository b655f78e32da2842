"""The tables of ``cold_start.py``, from its JSON; also into the guide, between marks.

``python -m benchmarks.serving.cold_start_report`` writes the guide's tables from the committed
result.
"""

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "guides" / "cold-start.md"
RESULT = ROOT / "benchmarks" / "results" / "cold_start.json"
BEGIN = "<!-- tables: made by make bench-cold -->"
END = "<!-- end of tables -->"


def describe(result: dict[str, Any]) -> str:
    """Markdown: one table of totals and one of phases for each size."""
    machine = result["machine"]
    lines = [
        f"{result['date'][:10]}, {machine['processor']}, {machine['cores']:g} cores (load average "
        f"{result['load_average']} at the start), medians of {result['repeats']} fresh processes, "
        + ", ".join(f"{name} {number}" for name, number in result["versions"].items())
        + ".",
    ]
    for size, found in result["sizes"].items():
        lines += ["", f"### {size}", ""]
        lines += _totals(found)
        lines += ["", "Where the milliseconds go (wall / CPU):", ""]
        lines += _phases(found)
    return "\n".join(lines)


def _totals(found: dict[str, Any]) -> list[str]:
    start = found["warm"][0]["wall_ms"]
    swap = next(rung["wall_ms"] for rung in found["warm"] if rung["rung"].startswith("swap"))
    stayed = found["stayed_in_cache"]
    cold = "model files not in the page cache" + (
        "" if stayed is None else f" (at most {stayed:.0%} stayed there)"
    )
    lines = [
        "| rung | wall ms | min to max | CPU ms | times faster | first answer |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for part, note in (("warm", ""), ("cold", f"; {cold}")):
        for rung in found[part]:
            base = swap if rung["rung"].startswith("swap") else start
            if part == "cold":
                base = found["cold"][0]["wall_ms"]
            lines.append(
                f"| {rung['rung']}{note} | {rung['wall_ms']:.0f} | {rung['min_ms']:.0f} to "
                f"{rung['max_ms']:.0f} | {rung['cpu_ms']:.0f} | {base / rung['wall_ms']:.1f} | "
                f"{'correct' if rung['correct'] else 'WRONG'} |"
            )
    return lines


def _phases(found: dict[str, Any]) -> list[str]:
    names: list[str] = []
    for rung in found["warm"]:
        names += [name for name in rung["phases"] if name not in names]
    lines = ["| rung | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for rung in found["warm"]:
        cells = [
            f"{rung['phases'][name]['wall_ms']:.0f} / {rung['phases'][name]['cpu_ms']:.0f}"
            if name in rung["phases"]
            else ""
            for name in names
        ]
        lines.append(f"| {rung['rung']} | " + " | ".join(cells) + " |")
    return lines


def render(result: dict[str, Any], guide: Path) -> None:
    """Replaces what stands between the two marks of the guide."""
    before, _, rest = guide.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    guide.write_text(f"{before}{BEGIN}\n\n{describe(result)}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    render(json.loads(RESULT.read_text(encoding="utf-8")), GUIDE)
    sys.exit(0)
