"""PyTorch on the CPU or on CUDA, for bundles that hold safetensors instead of ONNX.

Needs torch and transformers and nothing else of the application, so that
``benchmarks/serving/gpu.py`` measures this very engine on a machine that has no more than these.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification
from transformers.utils import logging

from deployments.model.engines import FloatBatch, IntBatch, OutOfMemory, Provider
from deployments.model.engines.cuda_graphs import CudaGraphs
from deployments.model.engines.layouts import PACKED_ATTENTION, Layout, Packed, Padded
from registry.records import Bundle

_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class TorchEngine:
    """A Hugging Face sequence classifier loaded from ``model.safetensors`` and ``config.json``.

    Args:
        bundle: Where the files are, and in which precision to compute.
        provider: See ``open_engine``.
        threads: Threads inside one run (CPU).
        gpu_share: See ``open_engine``.
        packed: Compute no padding where the model and the device can.
        graphs: Replay CUDA graphs of bucketed shapes (CUDA).
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        provider: Provider,
        threads: int,
        gpu_share: float,
        packed: bool = True,
        graphs: bool = True,
    ) -> None:
        has_cuda = torch.cuda.is_available()
        if provider == "cuda" and not has_cuda:
            raise RuntimeError("model.provider=cuda, but torch sees no CUDA device")
        use_cuda = provider == "cuda" or (provider == "auto" and gpu_share > 0 and has_cuda)
        self.device = "cuda" if use_cuda else "cpu"
        dtype = _DTYPES[bundle.engine.precision]
        if use_cuda:
            if 0 < gpu_share < 1:
                torch.cuda.set_per_process_memory_fraction(gpu_share)
            # FP32 products on tensor cores (TF32): 10 bits of mantissa, 8 times the speed.
            torch.set_float32_matmul_precision("high")
        else:
            torch.set_num_threads(threads)
        logging.disable_progress_bar()  # A replica's log is no terminal.
        config = AutoConfig.from_pretrained(
            bundle.directory, local_files_only=True, trust_remote_code=False
        )
        packs = packed and Packed.fits(config.model_type, self.device, dtype)
        model = AutoModelForSequenceClassification.from_pretrained(
            bundle.directory,
            config=config,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=dtype,
            attn_implementation=PACKED_ATTENTION if packs else None,
        )
        model.to(self.device).eval()
        self.layout: Layout = Packed(model) if packs else Padded(model, bundle.engine.pad_id)
        captures = use_cuda and graphs and self.layout.capturable
        self.build = f"torch {torch.__version__} {self.device} {dtype} {packs} {captures}"
        self._graphs = CudaGraphs(self.layout.forward) if captures else None

    def run(self, input_ids: IntBatch, attention_mask: IntBatch) -> FloatBatch:
        """See ``Engine.run``. On CUDA the first run of a new shape takes longer."""
        try:
            return self._run(input_ids, attention_mask)
        except torch.OutOfMemoryError as error:
            told = str(error).partition("\n")[0]
        # After the block: until then the error's traceback holds the tensors of the run.
        if self.device == "cuda":
            torch.cuda.empty_cache()
        raise OutOfMemory(told)

    def gpu_memory(self) -> Mapping[str, int]:
        """See ``Engine.gpu_memory``; of all engines of this process."""
        if self.device != "cuda":
            return {}
        _, total = torch.cuda.mem_get_info()
        return {
            "allocated": torch.cuda.memory_allocated(),
            "reserved": torch.cuda.memory_reserved(),
            "limit": int(total * torch.cuda.get_per_process_memory_fraction()),
        }

    def _run(self, input_ids: IntBatch, attention_mask: IntBatch) -> FloatBatch:
        rows = len(input_ids)
        with torch.inference_mode():
            if self._graphs is not None:
                shape = self.layout.shape(attention_mask, bucket=True)
                if self._graphs.takes(shape):
                    vector = self.layout.vector(input_ids, attention_mask, shape)
                    return _on_host(self._graphs.run(vector, shape), rows)
            shape = self.layout.shape(attention_mask, bucket=False)
            vector = self.layout.vector(input_ids, attention_mask, shape)
            on_device = torch.from_numpy(vector).to(self.device)
            return _on_host(self.layout.forward(on_device, shape), rows)


def _on_host(logits: torch.Tensor, rows: int) -> FloatBatch:
    array: FloatBatch = logits[:rows].cpu().numpy()
    return array
