"""Files that come with sentigraph and are not Python: serve_config.yaml, models/, constraints.txt.

In a checkout they stand beside the packages. A wheel installs them under ``share/sentigraph``.
"""

from functools import cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_SERVE_CONFIG = "serve_config.yaml"


def checkout() -> Path | None:
    """The folder of the checkout that this code runs from; None for an installed wheel."""
    return _ROOT if (_ROOT / _SERVE_CONFIG).is_file() else None


def shipped_file(name: str) -> Path:
    """The file or folder ``name``, from the checkout if it is there, else as installed."""
    beside = _ROOT / name
    folder = None if beside.exists() else _installed()
    return beside if folder is None else folder / name


@cache
def _installed() -> Path | None:
    try:
        listed = files("sentigraph") or []
    except PackageNotFoundError:
        return None
    found = (file for file in listed if file.match(f"share/sentigraph/{_SERVE_CONFIG}"))
    return next((Path(str(file.locate())).resolve().parent for file in found), None)
