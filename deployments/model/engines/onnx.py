"""ONNX Runtime on the CPU or on CUDA. The default engine.

The session's options are those that were fastest or lightest when measured
(``docs/decisions/0011-engines.md``), which is not always what their names promise.
"""

import ctypes
from collections.abc import Mapping

import numpy as np
import onnxruntime as ort

from deployments.model.engines import FloatBatch, IntBatch, OutOfMemory, Provider
from registry.bundles.bundle import MODEL_FILE
from registry.records import Bundle

# Its kernel is not vectorised: the addition and the normalisation alone take a third of the time.
SLOW_ON_CPU = ["SkipLayerNormFusion"]

# The runtime has no class for it: its arena's words, and CUDA's.
_NO_MEMORY = ("Failed to allocate memory", "out of memory")

Providers = list[str | tuple[str, dict[str, str]]]


class OnnxEngine:
    """One ``InferenceSession`` of a bundle's ``model.onnx``."""

    def __init__(
        self, bundle: Bundle, *, provider: Provider, threads: int, gpu_share: float
    ) -> None:
        has_cuda = "CUDAExecutionProvider" in ort.get_available_providers()
        if provider == "cuda" and not has_cuda:
            raise RuntimeError(
                "model.provider=cuda, but this onnxruntime has no CUDA provider "
                "(install the gpu extra: onnxruntime-gpu)"
            )
        use_cuda = provider == "cuda" or (provider == "auto" and gpu_share > 0 and has_cuda)
        self.device = "cuda" if use_cuda else "cpu"
        self._inputs = bundle.engine.inputs
        options = session_options(threads)
        self.build = f"onnxruntime {ort.__version__} {self.device}"
        if use_cuda:
            # The libraries of pip's packages are on no search path.
            ort.preload_dlls()
        else:
            self.build += f" without {', '.join(SLOW_ON_CPU)}"
        # What fails is raised; the runtime need not print it to standard error as well.
        self._run_options = ort.RunOptions()
        self._run_options.log_severity_level = 4
        self._session = ort.InferenceSession(
            str(bundle.directory / MODEL_FILE["onnx"]),
            options,
            providers=providers(gpu_share or 1, _card_bytes()) if use_cuda else providers(0, 0),
            disabled_optimizers=None if use_cuda else SLOW_ON_CPU,
        )
        # The runtime falls back without an error when the provider's libraries do not load.
        if use_cuda and "CUDAExecutionProvider" not in self._session.get_providers():
            raise RuntimeError(
                "onnxruntime could not start its CUDA provider: the CUDA and cuDNN libraries that "
                "it was built for are missing or do not fit the driver"
            )

    def run(self, input_ids: IntBatch, attention_mask: IntBatch) -> FloatBatch:
        """See ``Engine.run``."""
        feed = {"input_ids": input_ids, "attention_mask": attention_mask}
        if "token_type_ids" in self._inputs:
            feed["token_type_ids"] = np.zeros_like(input_ids)
        given = {name: feed[name] for name in self._inputs}
        try:
            logits: FloatBatch = self._session.run(["logits"], given, self._run_options)[0]
        except Exception as error:
            if self.device == "cuda" and any(told in str(error) for told in _NO_MEMORY):
                raise OutOfMemory(str(error).partition("\n")[0]) from None
            raise
        return logits

    def gpu_memory(self) -> Mapping[str, int]:
        """See ``Engine.gpu_memory``; the runtime does not say."""
        return {}


def session_options(threads: int) -> ort.SessionOptions:
    """Options of one session with ``threads`` threads in one run."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # A spinning thread takes the core that another replica needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def providers(gpu_share: float, card_bytes: int) -> Providers:
    """Provider list, best first.

    Args:
        gpu_share: GPUs of this process; 0 is none, below 1 is a part of one card.
        card_bytes: Memory of the card; 0 if unknown, then no limit is set.
    """
    if gpu_share <= 0:
        return ["CPUExecutionProvider"]
    # Grow by what is asked for, not by doubling, so that replicas that share a card leave room.
    options = {"arena_extend_strategy": "kSameAsRequested"}
    if gpu_share < 1 and card_bytes:
        options["gpu_mem_limit"] = str(int(card_bytes * gpu_share))
    return [("CUDAExecutionProvider", options), "CPUExecutionProvider"]


def _card_bytes() -> int:
    """Memory of the first visible card, from the driver; 0 where there is no driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    device, size = ctypes.c_int(), ctypes.c_size_t()
    failed = (
        driver.cuInit(0)
        or driver.cuDeviceGet(ctypes.byref(device), 0)
        or driver.cuDeviceTotalMem_v2(ctypes.byref(size), device)
    )
    return 0 if failed else size.value
