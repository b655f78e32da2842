"""The ONNX engine's options: which ones it sets, and that it refuses what it cannot do."""

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from deployments.model.engines import onnx as engine_module
from deployments.model.engines import open_engine
from deployments.model.engines.onnx import SLOW_ON_CPU, OnnxEngine, providers, session_options
from registry.records import Bundle

CARD_BYTES = 16 << 30


@pytest.mark.parametrize(
    ("gpu_share", "card_bytes", "limit"),
    [
        (0.25, CARD_BYTES, str(CARD_BYTES // 4)),
        # A whole card needs no limit, and an unknown size allows none.
        (1, CARD_BYTES, None),
        (2, CARD_BYTES, None),
        (0.5, 0, None),
    ],
)
def test_a_share_of_a_card_bounds_its_memory(
    gpu_share: float, card_bytes: int, limit: str | None
) -> None:
    (cuda, options), cpu = providers(gpu_share, card_bytes)
    assert (cuda, cpu) == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert isinstance(options, dict)
    assert options["arena_extend_strategy"] == "kSameAsRequested"
    assert options.get("gpu_mem_limit") == limit


def test_without_a_gpu_only_the_cpu_is_asked_for() -> None:
    assert providers(0, CARD_BYTES) == ["CPUExecutionProvider"]


class _Driver:
    """Stands for libcuda; ``broken`` is the first call that fails."""

    def __init__(self, broken: str = "") -> None:
        self._broken = broken

    def cuInit(self, flags: int) -> int:  # noqa: N802
        return int(self._broken == "cuInit")

    def cuDeviceGet(self, device: Any, ordinal: int) -> int:  # noqa: N802
        return 0

    def cuDeviceTotalMem_v2(self, size: Any, device: Any) -> int:  # noqa: N802
        size._obj.value = CARD_BYTES
        return 0


@pytest.mark.parametrize(("driver", "found"), [(_Driver(), CARD_BYTES), (_Driver("cuInit"), 0)])
def test_the_card_tells_its_memory(
    monkeypatch: pytest.MonkeyPatch, driver: _Driver, found: int
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    assert engine_module._card_bytes() == found


def test_no_driver_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert engine_module._card_bytes() == 0


def test_threads_reach_the_session_and_do_not_spin(bundled: Bundle) -> None:
    options = session_options(3)
    assert options.intra_op_num_threads == 3
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_the_slow_fusion_is_left_out_on_the_cpu(bundled: Bundle, tmp_path: Path) -> None:
    def nodes(disabled: list[str]) -> list[str]:
        options = session_options(1)
        options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
        path = bundled.directory / "model.onnx"
        ort.InferenceSession(
            str(path),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=disabled,
        )
        graph = onnx.load(tmp_path / "optimised.onnx").graph
        return [node.op_type for node in graph.node]

    assert "SkipLayerNormalization" in nodes([])
    assert "SkipLayerNormalization" not in nodes(SLOW_ON_CPU)


class _Session:
    """Stands for a session whose CUDA provider did or did not start."""

    def __init__(self, started: list[str]) -> None:
        self._started = started
        self.asked: Any = None
        self.left_out: Any = None

    def __call__(
        self, path: str, options: Any, providers: Any, disabled_optimizers: Any
    ) -> "_Session":
        self.asked, self.left_out = providers, disabled_optimizers
        return self

    def get_providers(self) -> list[str]:
        return self._started


def test_auto_takes_cuda_for_a_replica_that_owns_a_share(
    bundled: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = _Session(["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr(ort, "get_available_providers", session.get_providers)
    monkeypatch.setattr(ort, "InferenceSession", session)
    monkeypatch.setattr(engine_module, "_card_bytes", lambda: CARD_BYTES)
    assert open_engine(bundled, gpu_share=0.5).device == "cuda"
    assert session.asked[0][1]["gpu_mem_limit"] == str(CARD_BYTES // 2)
    assert session.left_out is None
    assert open_engine(bundled, gpu_share=0).device == "cpu"
    assert session.asked == ["CPUExecutionProvider"]
    assert session.left_out == SLOW_ON_CPU
    assert open_engine(bundled, provider="cpu", gpu_share=1).device == "cpu"


def test_a_cuda_provider_that_did_not_start_is_refused(
    bundled: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(ort, "InferenceSession", _Session(["CPUExecutionProvider"]))
    with pytest.raises(RuntimeError, match="could not start its CUDA provider"):
        open_engine(bundled, provider="cuda", gpu_share=1)


def test_basic_fusions_answer_like_all_of_them(bundled: Bundle) -> None:
    engine = open_engine(bundled, provider="cpu")
    assert isinstance(engine, OnnxEngine)
    every = ort.InferenceSession(
        str(bundled.directory / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    ids = np.array([[101, 2023, 2003, 1037, 2307, 3185, 102]], dtype=np.int64)
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    logits = engine.run(**feed)
    assert logits.shape == (1, 2)
    assert logits == pytest.approx(every.run(["logits"], feed)[0], abs=0.15)
