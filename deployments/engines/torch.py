"""PyTorch on the CPU or on CUDA, for bundles that hold safetensors instead of ONNX."""

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification

from deployments.engines import FloatBatch, IntBatch, Provider
from registry.records import Bundle

_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class TorchEngine:
    """A Hugging Face sequence classifier loaded from ``model.safetensors`` and ``config.json``."""

    def __init__(self, bundle: Bundle, *, provider: Provider, threads: int, own_gpu: bool) -> None:
        has_cuda = torch.cuda.is_available()
        if provider == "cuda" and not has_cuda:
            raise RuntimeError("model.provider=cuda, but torch sees no CUDA device")
        use_cuda = provider == "cuda" or (provider == "auto" and own_gpu and has_cuda)
        torch.set_num_threads(threads)
        self.device = "cuda" if use_cuda else "cpu"
        self._model = AutoModelForSequenceClassification.from_pretrained(
            bundle.directory,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=_DTYPES[bundle.engine.precision],
        )
        self._model.to(self.device).eval()

    def run(self, input_ids: IntBatch, attention_mask: IntBatch) -> FloatBatch:
        """See ``Engine.run``."""
        with torch.inference_mode():
            output = self._model(
                input_ids=torch.from_numpy(input_ids).to(self.device),
                attention_mask=torch.from_numpy(attention_mask).to(self.device),
            )
        logits: FloatBatch = output.logits.float().cpu().numpy().astype(np.float32, copy=False)
        return logits
