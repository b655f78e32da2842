"""What the pipeline refuses, as one tree.

PipelineError            exit status 1, message on stderr
├── SourceError          an archive is missing, or is not the pinned one
├── DatasetError         a table of texts and labels cannot be trained on
├── CheckpointError      a model directory is incomplete, unsafe or of an unknown kind
├── ParityError          an exported or quantised model no longer agrees with its source
└── ScoreError           a file cannot be scored, or a run cannot be taken up again
"""

from __future__ import annotations


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


class ScoreError(PipelineError):
    """A file cannot be scored as it is, or a run that was broken off is another one."""
