"""Progress in a log file is lines."""

import pytest

from pipelines import progress as progress_module
from pipelines.progress import progress


def test_without_a_terminal_it_is_plain_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_module, "EVERY_S", 0)
    assert list(progress([1, 2], desc="epoch 1", unit="batches")) == [1, 2]
    told = capsys.readouterr().err
    assert told.splitlines()[0].startswith("epoch 1: 1 of 2 batches, ")
    assert told.splitlines()[-1].startswith("epoch 1: 2 of 2 batches, ")
    assert "\r" not in told
