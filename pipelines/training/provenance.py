"""Where a trained classifier came from: data digest, base model, recipe, run.

Written by `train` beside the weights, read by `export`, which copies it into the bundle, and shown
by `card`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pipelines.errors import CheckpointError

FILE_NAME = "provenance.json"


def write_provenance(folder: Path, facts: Mapping[str, str]) -> None:
    """Writes the facts beside the weights."""
    (folder / FILE_NAME).write_text(json.dumps(dict(facts), indent=2, ensure_ascii=False) + "\n")


def read_provenance(folder: Path) -> dict[str, str]:
    """Returns the facts.

    Raises:
        CheckpointError: The folder has none, so nobody could say what the model was trained on.
    """
    try:
        facts: dict[str, str] = json.loads((folder / FILE_NAME).read_text())
    except (OSError, ValueError) as exc:
        raise CheckpointError(
            f"{folder}: no readable {FILE_NAME}; run `sentigraph train` first"
        ) from exc
    return facts
