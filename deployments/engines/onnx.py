"""ONNX Runtime on the CPU or on CUDA. The default engine."""

import numpy as np
import onnxruntime as ort

from deployments.engines import FloatBatch, IntBatch, Provider
from registry.bundle import MODEL_FILE
from registry.records import Bundle


class OnnxEngine:
    """One ``InferenceSession`` of a bundle's ``model.onnx``."""

    def __init__(self, bundle: Bundle, *, provider: Provider, threads: int, own_gpu: bool) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # A spinning thread takes the core that another replica needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        has_cuda = "CUDAExecutionProvider" in ort.get_available_providers()
        if provider == "cuda" and not has_cuda:
            raise RuntimeError(
                "model.provider=cuda, but this onnxruntime has no CUDA provider "
                "(install the gpu extra: onnxruntime-gpu)"
            )
        use_cuda = provider == "cuda" or (provider == "auto" and own_gpu and has_cuda)
        providers: list[str | tuple[str, dict[str, str]]] = ["CPUExecutionProvider"]
        if use_cuda:
            # Grow by what is asked for, so that replicas sharing a card leave room.
            arena = {"arena_extend_strategy": "kSameAsRequested"}
            providers.insert(0, ("CUDAExecutionProvider", arena))
        self.device = "cuda" if use_cuda else "cpu"
        self._inputs = bundle.engine.inputs
        self._session = ort.InferenceSession(
            str(bundle.directory / MODEL_FILE["onnx"]), options, providers=providers
        )

    def run(self, input_ids: IntBatch, attention_mask: IntBatch) -> FloatBatch:
        """See ``Engine.run``."""
        feed = {"input_ids": input_ids, "attention_mask": attention_mask}
        if "token_type_ids" in self._inputs:
            feed["token_type_ids"] = np.zeros_like(input_ids)
        logits: FloatBatch = self._session.run(
            ["logits"], {name: feed[name] for name in self._inputs}
        )[0]
        return logits
