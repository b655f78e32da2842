"""What goes over the wire to each kind of server, and how its answer is read. Pure."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Answer = tuple[str, float]


@dataclass(frozen=True, slots=True)
class Wire:
    """One request and answer format.

    Attributes:
        path: Where requests are posted.
        body: A text to the JSON value that is sent.
        answer: The JSON value that came back to (label, score).
        cached_mark: Piece of an answer's body that says it came from a cache; empty where there
            is no cache.
        deadline_header: Header that tells the server, in ms, how long an answer is of use.
        headers: Sent with every request.
    """

    path: str
    body: Callable[[str], object]
    answer: Callable[[Any], Answer]
    cached_mark: str = ""
    deadline_header: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    def encode(self, text: str) -> str:
        """The body of a request."""
        return json.dumps(self.body(text), ensure_ascii=False)

    def decode(self, body: str) -> Answer:
        """Label and score of an answer.

        Raises:
            ValueError: The body is not an answer of this format.
        """
        try:
            label, score = self.answer(json.loads(body))
            return str(label), float(score)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise ValueError(f"not the expected answer: {body[:200]}") from error


def _plain(answer: Any) -> Answer:
    return answer["label"], answer["score"]


def _outputs(answer: Any) -> Answer:
    columns = {output["name"]: output["data"][0] for output in answer["outputs"]}
    return columns["label"], columns["score"]


def _tensor(text: str) -> object:
    tensor = {"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": [text]}
    return {"inputs": [tensor]}


PLAIN = Wire("/classify", lambda text: {"text": text}, _plain)
OURS = Wire(
    "/api/v1/predict",
    lambda text: {"text": text},
    _plain,
    cached_mark='"cached":true',
    deadline_header="X-Deadline-Ms",
)
BENTOML = Wire("/classify", lambda text: {"texts": [text]}, lambda answer: _plain(answer[0]))
OPEN_INFERENCE = Wire("/v2/models/clf/infer", _tensor, _outputs)
MLFLOW = Wire(
    "/invocations",
    lambda text: {"inputs": [text]},
    lambda answer: _plain(answer["predictions"][0]),
)
