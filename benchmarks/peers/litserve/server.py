"""LitServe: one ``LitAPI``, ``workers_per_device`` processes, its fast (ZeroMQ) queue."""

import litserve
from classifier import from_settings, settings


class Api(litserve.LitAPI):
    """Text in, label and score out. The parameters' names are LitServe's."""

    def setup(self, device: str) -> None:
        """Loads the model in each worker."""
        self._classifier = from_settings()

    def decode_request(self, request: dict[str, str]) -> str:
        """The text of a request."""
        return request["text"]

    def predict(self, inputs: list[str] | str) -> list[dict[str, object]] | dict[str, object]:
        """Runs one batch; LitServe passes a bare text when batching is off."""
        if isinstance(inputs, str):
            return self._classifier.classify([inputs])[0]
        return self._classifier.classify(inputs)

    def encode_response(self, output: dict[str, object]) -> dict[str, object]:
        """The answer as it is sent."""
        return output


if __name__ == "__main__":
    wanted = settings()
    api = Api(
        max_batch_size=wanted.max_batch,
        batch_timeout=wanted.wait_ms / 1_000,
        api_path="/classify",
    )
    server = litserve.LitServer(
        api, accelerator="cpu", workers_per_device=wanted.workers, fast_queue=True
    )
    server.run(host="127.0.0.1", port=wanted.port, generate_client_file=False, log_level="warning")
