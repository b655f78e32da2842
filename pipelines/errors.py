"""What the pipeline refuses, as one tree.

PipelineError            exit status 1, message on stderr
├── SourceError          an archive is missing, or is not the pinned one
├── DatasetError         a table of texts and labels cannot be trained on
├── CheckpointError      a model directory is incomplete, unsafe or of an unknown kind
├── ParityError          an exported model no longer agrees with its source
│   └── QuantisationError    only its 8-bit form does not
└── ScoreError           a file cannot be scored, or a run cannot be taken up again
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MAX_CAUSE_CHARS = 300


class PipelineError(Exception):
    """The base: `python -m cli` turns it into exit status 1."""


class SourceError(PipelineError):
    """An archive could not be fetched, or its bytes are not the pinned ones."""


class DatasetError(PipelineError):
    """A table of texts and labels cannot be trained on."""


class CheckpointError(PipelineError):
    """A model directory is incomplete, unsafe or of an unknown kind."""


class ParityError(PipelineError):
    """A converted model no longer agrees with the model it was made from."""


class QuantisationError(ParityError):
    """The 8-bit form of a model cannot be made, or no longer agrees with the FP32 one."""


class ScoreError(PipelineError):
    """A file cannot be scored as it is, or a run that was broken off is another one."""


@contextmanager
def refusing(
    kind: type[PipelineError], what: str, way_out: str = "", *, scratch: Path | None = None
) -> Iterator[None]:
    """Turns any failure of a library inside the block into one sentence.

    Args:
        kind: What is raised.
        what: Subject and predicate: what could not be done with which model or file.
        way_out: What the user can do, appended after a semicolon.
        scratch: A temporary folder whose path must not be in the sentence.

    Raises:
        PipelineError: Of `kind`, with the root cause; one that the block raises itself passes.
    """
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:
        # Exporters and readers raise what they like; the library's own error is the root.
        root: BaseException = error
        while root.__cause__ is not None:
            root = root.__cause__
        said = " ".join(str(root).split())
        if scratch is not None:
            said = said.replace(f"{scratch}/", "").replace(str(scratch), "a temporary folder")
        cause = said[:_MAX_CAUSE_CHARS] + ("…" if len(said) > _MAX_CAUSE_CHARS else "")
        advice = f"; {way_out}" if way_out else ""
        raise kind(f"{what}: {type(root).__name__}: {cause}{advice}") from error
