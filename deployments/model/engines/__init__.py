"""Engines turn padded token ids into logits. One file per runtime, one protocol here.

Only this package imports ``onnxruntime`` or ``torch``; ``model.py`` sees ``Engine``.
"""

from collections.abc import Mapping
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from registry.records import Bundle

Provider = Literal["auto", "cpu", "cuda"]
IntBatch = npt.NDArray[np.int64]
FloatBatch = npt.NDArray[np.float32]


class OutOfMemory(Exception):
    """The card's memory is not enough for a batch; what was taken for it is free again."""


class Engine(Protocol):
    """A loaded model. On a CPU ``run`` may be called from several threads at once."""

    device: str
    # What decides its speed besides the host: runtime, version, options. Costs are kept by it.
    build: str

    def run(self, input_ids: IntBatch, attention_mask: IntBatch) -> FloatBatch:
        """Runs one padded batch.

        Args:
            input_ids: ``[batch, tokens]`` int64, padded with the bundle's ``pad_id``.
            attention_mask: ``[batch, tokens]`` int64, 1 for a token and 0 for padding.

        Returns:
            Logits, ``[batch, labels]`` float32.

        Raises:
            OutOfMemory: The batch is too large for the card.
        """
        ...

    def gpu_memory(self) -> Mapping[str, int]:
        """Bytes of the card: ``allocated``, ``reserved`` and ``limit``; empty where the runtime
        does not say.
        """
        ...


def open_engine(
    bundle: Bundle, *, provider: Provider = "auto", threads: int = 1, gpu_share: float = 0
) -> Engine:
    """Loads the bundle's model file into the runtime that it names.

    Args:
        bundle: A verified bundle.
        provider: Where to compute; ``auto`` is CUDA if there is a ``gpu_share`` and the runtime
            has it.
        threads: Threads inside one run (CPU).
        gpu_share: GPUs that this process was given: 0 is none; a fraction also bounds how much
            of the card's memory the engine takes, so that replicas on one card leave room.

    Raises:
        RuntimeError: ``provider="cuda"`` and the runtime has no CUDA.
        ImportError: A torch bundle without the ``torch`` extra installed.
    """
    # Imported here: an ONNX replica must not pay for torch, nor the reverse.
    if bundle.engine.kind == "onnx":
        from deployments.model.engines.onnx import OnnxEngine  # noqa: PLC0415

        return OnnxEngine(bundle, provider=provider, threads=threads, gpu_share=gpu_share)
    from deployments.model.engines.torch import TorchEngine  # noqa: PLC0415

    return TorchEngine(bundle, provider=provider, threads=threads, gpu_share=gpu_share)
