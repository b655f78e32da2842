"""A version that fails on some words, on the real graph: texts with them fail, no others do.

It is the bundled model with a look-up beside it, so that the golden texts let it serve: words
behind the end of the table end the run, and one entry is NaN.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import pytest
from ended_jobs import until_ended
from versions import ANA, BUNDLE, staged, wait_for

from operations.local_stack.stack import Stack
from registry.bundles.bundle import MODEL_FILE
from registry.model_registry import ModelRegistry

# Token ids: zebra is behind the table's end, lamp is NaN in it.
ROWS, LAMP = 29_000, 10_437
NO_ROW, NAN = "a zebra at work", "a good lamp"


@pytest.fixture(scope="module")
def registry(stack: Stack) -> ModelRegistry:
    config = stack.config.registry
    return ModelRegistry(config.tracking_uri, config.artifact_root)


def edited(folder: Path, nodes: list[Any], tables: dict[str, Any]) -> Path:
    """The bundled model, whose logits go through ``nodes``."""
    model = onnx.load(BUNDLE / MODEL_FILE["onnx"])
    for node in model.graph.node:
        for place, output in enumerate(node.output):
            if output == "logits":
                node.output[place] = "own_logits"
    for name, values in tables.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    model.graph.node.extend(nodes)
    onnx.save(model, folder / "edited.onnx")
    return folder / "edited.onnx"


@pytest.fixture(scope="module")
def poisoned(
    registry: ModelRegistry, client: httpx.Client, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    """The champion while these tests run."""
    folder = tmp_path_factory.mktemp("poison")
    table = np.zeros(ROWS, dtype=np.float32)
    table[LAMP] = np.nan
    make = onnx.helper.make_node
    nodes = [
        make("Gather", ["table", "input_ids"], ["looked_up"]),
        make("ReduceSum", ["looked_up", "tokens_axis"], ["summed"], keepdims=1),
        make("Add", ["own_logits", "summed"], ["logits"]),
    ]
    tables = {"table": table, "tokens_axis": np.array([1], dtype=np.int64)}
    file = edited(folder, nodes, tables)
    version = staged(registry, folder, files={MODEL_FILE["onnx"]: file})
    registry.lifecycle.transition("sentiment", version, "production", **ANA)
    wait_for(client, version)
    yield version
    registry.lifecycle.rollback("sentiment", to=1, **ANA)
    wait_for(client, 1)


@pytest.mark.parametrize("poison", [NO_ROW, NAN])
def test_single_texts_and_a_batch(client: httpx.Client, poisoned: int, poison: str) -> None:
    refused = client.post("/predict", json={"text": poison})
    assert (refused.status_code, refused.json()["error_code"]) == (500, "E2002")
    texts = [f"cup {i} of tea" for i in range(12)]
    answer = client.post("/predict/batch", json={"texts": [*texts[:5], poison, *texts[5:]]}).json()
    assert answer["model_version"] == poisoned
    assert [i for i, item in enumerate(answer["results"]) if item["error"]] == [5]
    assert answer["results"][5]["error"]["error_code"] == "E2002"


def test_other_callers_do_not_notice(client: httpx.Client, poisoned: int) -> None:
    texts = [f"caller {i} had a fine day" for i in range(44)]
    asked = [*texts[:20], *(f"{i}: {NO_ROW}" for i in range(4)), *texts[20:]]

    def status(text: str) -> int:
        return client.post("/predict", json={"text": text}).status_code

    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(status, asked))
    assert [i for i, code in enumerate(statuses) if code != 200] == [20, 21, 22, 23]


def test_a_job_is_completed_with_its_errors(client: httpx.Client, poisoned: int) -> None:
    texts = ["tea one", "tea two", NO_ROW, "tea three", "tea four", NAN]
    job_id = client.post("/batch/predict", json={"texts": texts}).json()["job_id"]
    started_s = time.monotonic()
    status = until_ended(client, job_id)
    assert (status["status"], status["failed_texts"]) == ("completed", 2)
    assert time.monotonic() - started_s < 30
    items = client.get(f"/batch/results/{job_id}").json()["results"]
    assert [i for i, item in enumerate(items) if item["error"]] == [2, 5]
    assert {items[i]["error"]["error_code"] for i in (2, 5)} == {"E2002"}


def test_one_output_for_two_labels_never_serves(
    client: httpx.Client, registry: ModelRegistry, tmp_path: Path
) -> None:
    nodes = [onnx.helper.make_node("Gather", ["own_logits", "first"], ["logits"], axis=1)]
    file = edited(tmp_path, nodes, {"first": np.array([0], dtype=np.int64)})
    live = client.get("/models/live").json()["champion"]["version"]
    version = staged(registry, tmp_path, files={MODEL_FILE["onnx"]: file})
    registry.lifecycle.transition("sentiment", version, "production", **ANA)
    deadline_s = time.monotonic() + 40
    while registry.lifecycle.state("sentiment").champion != live:
        assert time.monotonic() < deadline_s
        time.sleep(0.2)
    reason = registry.ledger.events("sentiment")[-1].reason
    assert "2 labels" in reason
    assert client.post("/predict", json={"text": "still here"}).json()["model_version"] == live
