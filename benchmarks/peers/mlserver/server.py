"""MLServer: one ``MLModel``, its adaptive batching, its pool of inference processes.

One worker runs inside the server process (``parallel_workers`` 0); more than one is MLServer's
pool. The two settings files that MLServer wants are written into a temporary folder.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

from classifier import from_settings, settings
from mlserver import MLModel
from mlserver.codecs import StringCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Clf(MLModel):
    """Texts in; labels and scores out, as two outputs."""

    async def load(self) -> bool:
        """Opens the model in each worker."""
        self._classifier = from_settings()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Runs one batch."""
        answers = self._classifier.classify(StringCodec.decode_input(payload.inputs[0]))
        labels = [str(answer["label"]) for answer in answers]
        scores = [repr(answer["score"]) for answer in answers]
        return InferenceResponse(
            model_name=self.name,
            outputs=[
                StringCodec.encode_output("label", labels),
                StringCodec.encode_output("score", scores),
            ],
        )


def _write_settings(folder: Path) -> None:
    wanted = settings()
    server = {
        "host": "127.0.0.1",
        "http_port": wanted.port,
        "grpc_port": wanted.port + 1,
        "metrics_port": wanted.port + 2,
        "parallel_workers": wanted.workers if wanted.workers > 1 else 0,
        "debug": False,
    }
    model: dict[str, object] = {"name": "clf", "implementation": "server.Clf"}
    if wanted.max_batch > 1:
        model |= {"max_batch_size": wanted.max_batch, "max_batch_time": wanted.wait_ms / 1_000}
    (folder / "settings.json").write_text(json.dumps(server), encoding="utf-8")
    (folder / "model-settings.json").write_text(json.dumps(model), encoding="utf-8")


if __name__ == "__main__":
    scratch = Path(tempfile.mkdtemp(prefix="bench-mlserver-"))
    _write_settings(scratch)
    os.execv(
        sys.executable,
        [sys.executable, "-c", "from mlserver.cli import main; main()", "start", str(scratch)],
    )
