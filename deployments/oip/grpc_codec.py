"""Messages of the Open Inference Protocol over gRPC ↔ texts and predictions. Pure.

A tensor's values lie in its ``contents`` or, all tensors alike, as bytes in
``raw_input_contents``; the answer has the form of the request.
"""

from collections.abc import Callable, Sequence
from typing import Any

import orjson
from google.protobuf.message import Message
from pydantic import ValidationError

from deployments.errors import InvalidInput
from deployments.inference.validation import refusal
from deployments.oip.codec import (
    Inference,
    InferRequest,
    Tensor,
    check_datatype,
    check_shape,
    chosen,
    unpacked,
)
from deployments.oip.grpc_messages import ModelInferResponse, ModelMetadataResponse

_FIELDS = {
    "BYTES": "bytes_contents",
    "FP32": "fp32_contents",
    "INT32": "int_contents",
    "BOOL": "bool_contents",
}


def read_message(message: Any) -> Inference:
    """A ``ModelInferRequest``.

    Raises:
        InvalidInput: It is not what the protocol or this model takes.
    """
    shown = {
        "id": message.id or None,
        "inputs": [
            {"name": given.name, "shape": list(given.shape), "datatype": given.datatype}
            for given in message.inputs
        ],
        "outputs": [{"name": output.name} for output in message.outputs] or None,
    }
    try:
        request = InferRequest.model_validate(shown)
    except ValidationError as invalid:
        errors = invalid.errors(include_url=False, include_context=False, include_input=False)
        raise refusal(errors[:5]) from None
    check_datatype(request)
    raw = message.raw_input_contents
    if len(raw) > 1:
        raise InvalidInput("raw_input_contents must have one entry for each input")
    if raw:
        texts = list(unpacked(memoryview(raw[0])))
    else:
        texts = [_text(value) for value in message.inputs[0].contents.bytes_contents]
    check_shape(request, texts)
    wanted = None
    if request.outputs is not None:
        wanted = {output.name: bool(raw) for output in request.outputs}
    return Inference(texts, request.id, wanted, bool(raw))


def write_message(name: str, version: int, tensors: Sequence[Tensor], asked: Inference) -> Message:
    """A ``ModelInferResponse``.

    Raises:
        InvalidInput: An output was asked for that there is not.
    """
    answer = ModelInferResponse(
        model_name=name, model_version=str(version), id=asked.request_id or ""
    )
    for tensor, raw in chosen(tensors, asked):
        output = answer.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        if raw:
            answer.raw_output_contents.append(tensor.pack())
            continue
        encode: Callable[[Any], object] = str.encode if tensor.datatype == "BYTES" else _as_it_is
        field = getattr(output.contents, _FIELDS[tensor.datatype])
        field.extend(encode(value) for value in tensor.values)
    return _typed(answer)


def write_metadata(facts: dict[str, Any]) -> Message:
    """A ``ModelMetadataResponse`` of what ``routes.metadata`` returns."""
    parameters = facts["parameters"]
    answer = ModelMetadataResponse(
        name=facts["name"],
        versions=facts["versions"],
        platform=facts["platform"],
        inputs=facts["inputs"],
        outputs=facts["outputs"],
        properties={
            # Labels may have commas in them; ``labels`` is for clients that split it.
            "labels": ",".join(parameters["labels"]),
            "labels_json": orjson.dumps(parameters["labels"]).decode(),
            "digest": parameters["digest"],
            "task": parameters["task"],
            "activation": parameters["activation"],
            "thresholds_json": orjson.dumps(parameters["thresholds"]).decode(),
        },
    )
    return _typed(answer)


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInput("inputs.0: a text is not valid UTF-8") from None


def _as_it_is(value: object) -> object:
    return value


def _typed(message: Any) -> Message:
    assert isinstance(message, Message)
    return message
