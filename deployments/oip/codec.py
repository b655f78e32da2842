"""Bytes of the Open Inference Protocol v2 ↔ texts and predictions. Pure.

A request has one input of datatype BYTES, as JSON or as the binary tensor extension has it:
after the JSON part, whose length a header tells, each text behind its length in four bytes,
little-endian. Answers have an output for each fact, in the form that the client asks for.
``grpc_codec.py`` does the same for gRPC's messages, with what is here.
"""

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from deployments.errors import InvalidInput
from deployments.inference.validation import parse

_LENGTH = struct.Struct("<I")
_DTYPES = {"FP32": "<f4", "INT32": "<i4", "BOOL": "?"}


def _absent(value: object) -> object:
    """Null is an absent object, as other servers of the protocol have it."""
    return {} if value is None else value


class _Part(BaseModel):
    # The protocol lets clients add what they like.
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    parameters: Annotated[dict[str, object], BeforeValidator(_absent)] = Field(default_factory=dict)


class _Input(_Part):
    name: str
    shape: list[int] = Field(min_length=1, max_length=2)
    datatype: str
    data: list[object] | None = None


class _Output(_Part):
    name: str


class InferRequest(_Part):
    """A request but for its tensor's values."""

    id: str | None = Field(None, max_length=256)
    inputs: list[_Input] = Field(min_length=1, max_length=1)
    outputs: list[_Output] | None = Field(None, max_length=64)


@dataclass(frozen=True, slots=True)
class Inference:
    """What a client asks for.

    Attributes:
        texts: In order.
        request_id: Comes back in the answer.
        outputs: Name to whether it is wanted as binary; None for all.
        binary: Outputs that are not named are wanted as binary.
    """

    texts: list[str]
    request_id: str | None
    outputs: Mapping[str, bool] | None
    binary: bool


@dataclass(frozen=True, slots=True)
class Tensor:
    """One output: a name, a datatype of the protocol, and values in a shape."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: Sequence[object]

    def pack(self) -> bytes:
        """The binary form."""
        if self.datatype == "BYTES":
            texts = [str(value).encode("utf-8") for value in self.values]
            return b"".join(_LENGTH.pack(len(text)) + text for text in texts)
        return np.array(self.values, dtype=_DTYPES[self.datatype]).tobytes()


def read_request(body: bytes, json_bytes: str | None) -> Inference:
    """A request's body.

    Args:
        body: All of it.
        json_bytes: The header ``Inference-Header-Content-Length``.

    Raises:
        MalformedBody: The JSON part is no JSON.
        InvalidInput: It is not what the protocol or this model takes.
    """
    end = len(body)
    if json_bytes is not None:
        if not (json_bytes.isascii() and json_bytes.isdigit() and int(json_bytes[:12]) <= end):
            raise InvalidInput("header Inference-Header-Content-Length is not within the body")
        end = int(json_bytes[:12])
    request = parse(InferRequest, body[:end])
    (given,) = request.inputs
    check_datatype(request)
    binary = given.parameters.get("binary_data_size")
    if binary is None:
        texts = list(_flat(given.data or []))
    elif binary == len(body) - end:
        texts = list(unpacked(memoryview(body)[end:]))
    else:
        raise InvalidInput("inputs.0.parameters.binary_data_size is not what follows the JSON part")
    check_shape(request, texts)
    wanted = None
    # No names at all are all outputs.
    if request.outputs:
        wanted = {out.name: out.parameters.get("binary_data") is True for out in request.outputs}
    all_binary = request.parameters.get("binary_data_output") is True
    return Inference(texts, request.id, wanted, all_binary)


def check_datatype(request: InferRequest) -> None:
    """Raises InvalidInput: The input is not of datatype BYTES."""
    datatype = request.inputs[0].datatype
    if datatype != "BYTES":
        raise InvalidInput(f"inputs.0.datatype must be BYTES, not {datatype[:20]!r}")


def check_shape(request: InferRequest, texts: Sequence[str]) -> None:
    """Raises InvalidInput: The input's shape does not hold its texts."""
    shape = request.inputs[0].shape
    if min(shape) < 0 or math.prod(shape) != len(texts):
        raise InvalidInput(f"inputs.0.shape does not hold the {len(texts)} texts that were sent")


def write_answer(
    head: Mapping[str, object], tensors: Sequence[Tensor], asked: Inference
) -> tuple[bytes, int | None]:
    """An answer's body, and the length of its JSON part if something follows it.

    Raises:
        InvalidInput: An output was asked for that there is not.
    """
    outputs, tail = [], []
    for tensor, as_binary in chosen(tensors, asked):
        output: dict[str, object] = {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": tensor.shape,
        }
        if as_binary:
            tail.append(tensor.pack())
            output["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            output["data"] = tensor.values
        outputs.append(output)
    shown = dict(head) if asked.request_id is None else {**head, "id": asked.request_id}
    body = orjson.dumps({**shown, "outputs": outputs})
    return (body + b"".join(tail), len(body)) if tail else (body, None)


def chosen(tensors: Sequence[Tensor], asked: Inference) -> list[tuple[Tensor, bool]]:
    """The outputs that are wanted, each with whether as binary.

    Raises:
        InvalidInput: An output was asked for that there is not.
    """
    known = {tensor.name: tensor for tensor in tensors}
    wanted = asked.outputs
    if wanted is None:
        wanted = dict.fromkeys(known, asked.binary)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise InvalidInput(f"there is no output {unknown[0][:50]!r}; there are {', '.join(known)}")
    return [(known[name], binary) for name, binary in wanted.items()]


def _flat(data: Sequence[object]) -> Iterator[str]:
    for item in data:
        inner = item if isinstance(item, list) else [item]
        for text in inner:
            if not isinstance(text, str):
                raise InvalidInput("inputs.0.data must hold texts")
            yield text


def unpacked(data: memoryview) -> Iterator[str]:
    """Texts from the binary form.

    Raises:
        InvalidInput: A length or a text is cut off, or is no UTF-8.
    """
    at = 0
    while at < len(data):
        begin = at + _LENGTH.size
        if begin > len(data):
            raise InvalidInput("inputs.0: a text's length is cut off")
        at = begin + _LENGTH.unpack_from(data, at)[0]
        if at > len(data):
            raise InvalidInput("inputs.0: a text is longer than what was sent")
        try:
            yield str(data[begin:at], "utf-8")
        except UnicodeDecodeError:
            raise InvalidInput("inputs.0: a text is not valid UTF-8") from None
