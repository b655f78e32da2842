"""Bodies of the Open Inference Protocol's HTTP routes, for the OpenAPI document alone.

Requests are read by ``codec.py``, whose checks a schema cannot state.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from deployments.asgi.schemas import ErrorBody


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, protected_namespaces=())


class InferenceInput(_Body):
    """The texts; without `data` they follow the JSON part in binary form."""

    name: str
    shape: list[int] = Field(min_length=1, max_length=2, description="Holds all texts.")
    datatype: Literal["BYTES"]
    data: list[str] | None = None
    parameters: dict[str, Any] | None = None


class RequestedOutput(_Body):
    """An output that is wanted."""

    name: Literal["label", "score", "scores", "n_tokens", "truncated", "applies"] = Field(
        description="`applies` is there of multi-label models alone."
    )
    parameters: dict[str, Any] | None = None


class InferenceRequest(_Body):
    """Texts to classify, as one tensor."""

    id: str | None = Field(None, max_length=256, description="Comes back in the answer.")
    inputs: list[InferenceInput] = Field(min_length=1, max_length=1)
    outputs: list[RequestedOutput] | None = Field(
        None, max_length=64, description="None, or an empty list, is all outputs."
    )
    parameters: dict[str, Any] | None = None


class OutputTensor(_Body):
    """One output. `data` is absent where it was wanted in binary form."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any] | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)


class InferenceAnswer(_Body):
    """Outputs by name, a row for each text."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor]


class TensorMetadata(_Body):
    """Name, datatype and shape of an input or output; -1 is any number."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(_Body):
    """What the protocol says of the live version."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    parameters: dict[str, Any]


class ServerMetadata(_Body):
    """What the protocol says of the server."""

    name: str
    version: str
    extensions: list[str]


class ServerLive(_Body):
    """200 while the process answers."""

    live: bool


class Ready(_Body):
    """200 when a text can be classified now."""

    ready: bool


class OipError(ErrorBody):
    """The one error body, with the protocol's own field."""

    error: str = Field(description="As `error_message`.")
