"""The README's commands: those that call the server are run, the others must exist."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from cli.__main__ import VERBS
from operations.local_stack.stack import Stack

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S)
CALLS = [block for block in BLOCKS if block.startswith("curl")]


@pytest.mark.parametrize("block", CALLS)
def test_calls_answer_without_an_error(stack: Stack, block: str) -> None:
    command = block.replace("http://127.0.0.1:8000", stack.url)
    done = subprocess.run(
        ["bash", "-ec", command], capture_output=True, text=True, timeout=30, check=True
    )
    body = json.loads(done.stdout)
    if "results" in body:
        labels = [(result["prediction"] or {}).get("label") for result in body["results"]]
        assert labels == ["POSITIVE", "NEGATIVE", None]
    else:
        assert body["label"] == "POSITIVE"


def test_targets_and_verbs_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    text = (ROOT / "README.md").read_text()
    targets = set(re.findall(r"make ([a-z-]+)", text))
    assert {"serve", "test"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.M), target
    for verb in set(re.findall(r"sentigraph ([a-z]+) ", text)) - {"refuses"}:
        assert verb in VERBS, verb
    assert len(CALLS) == 2
