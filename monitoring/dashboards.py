"""``python -m monitoring.dashboards``: writes every dashboard to ``monitoring/dashboards/``.

Ours are made from ``boards/``, the ones in ``ray/`` by the Ray that is installed.
"""

from collections.abc import Iterator
from pathlib import Path

from monitoring.boards import access, batching, cache, models, ray, serving, streams
from monitoring.grafana import content

FOLDER = Path(__file__).parent / "dashboards"
BOARDS = tuple(board.BOARD for board in (serving, batching, cache, models, streams, access, ray))


def files() -> Iterator[tuple[Path, str]]:
    """Each file and its text."""
    # Its imports take a second, which the names of our boards do not need.
    from monitoring import ray_dashboards  # noqa: PLC0415

    for board in BOARDS:
        yield FOLDER / f"{board.name}.json", content(board)
    yield from ray_dashboards.files(FOLDER / "ray")


def main() -> None:
    """Writes them; prints the paths."""
    (FOLDER / "ray").mkdir(parents=True, exist_ok=True)
    for path, text in files():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(FOLDER.parents[1]))


if __name__ == "__main__":
    main()
