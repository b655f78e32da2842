"""Triton's own core through PyTriton: its HTTP front end and dynamic batcher, our Python function.

Not Triton's native ONNX Runtime backend, which is not on PyPI. ``workers`` callables make as
many model instances; the wait is Triton's queue delay.
"""

import numpy as np
import numpy.typing as npt
from classifier import Classifier, settings
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

Arrays = dict[str, npt.NDArray[np.generic]]
WANTED = settings()


class Instance:
    """One model instance."""

    def __init__(self) -> None:
        self._classifier = Classifier(WANTED.bundle, WANTED.threads)

    @batch
    def __call__(self, text: npt.NDArray[np.bytes_]) -> Arrays:
        """Runs one batch: ``[n, 1]`` bytes to ``[n, 1]`` labels and scores."""
        answers = self._classifier.classify([row[0].decode("utf-8") for row in text])
        return {
            "label": np.array([[str(a["label"]).encode()] for a in answers], dtype=np.bytes_),
            "score": np.array([[a["score"]] for a in answers], dtype=np.float32),
        }


if __name__ == "__main__":
    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=WANTED.port,
        grpc_port=WANTED.port + 1,
        metrics_port=WANTED.port + 2,
        log_verbose=0,
    )
    batcher = DynamicBatcher(max_queue_delay_microseconds=round(WANTED.wait_ms * 1_000))
    with Triton(config=config) as triton:
        triton.bind(
            model_name="clf",
            infer_func=[Instance() for _ in range(WANTED.workers)],
            inputs=[Tensor(name="text", dtype=bytes, shape=(1,))],
            outputs=[
                Tensor(name="label", dtype=bytes, shape=(1,)),
                Tensor(name="score", dtype=np.float32, shape=(1,)),
            ],
            config=ModelConfig(max_batch_size=WANTED.max_batch, batcher=batcher),
        )
        triton.serve()
