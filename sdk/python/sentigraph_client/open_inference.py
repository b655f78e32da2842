"""The Open Inference Protocol v2. For its gRPC half and binary tensors take ``tritonclient``."""

from collections.abc import Sequence
from typing import Any

from sentigraph_client._call import AsyncResource, Call, SyncResource, filled, given, operation
from sentigraph_client._models import (
    InferenceAnswer,
    ModelMetadata,
    Ready,
    ServerLive,
    ServerMetadata,
)

_MODEL = "/v2/models/{}"
_VERSION = "/v2/models/{}/versions/{}"


class _OpenInference:
    @operation("oip_server")
    def server_metadata(self) -> Call[ServerMetadata]:
        """Name, version and extensions."""
        return Call("GET", "/v2", ServerMetadata)

    @operation("oip_live")
    def live(self) -> Call[ServerLive]:
        """Returns while the process answers."""
        return Call("GET", "/v2/health/live", ServerLive)

    @operation("oip_ready")
    def ready(self) -> Call[Ready]:
        """Returns when a text can be classified now; else ``Unavailable``."""
        return Call("GET", "/v2/health/ready", Ready)

    @operation("oip_model")
    def model_metadata(self, name: str) -> Call[ModelMetadata]:
        """Inputs, outputs and labels of the live version."""
        return Call("GET", filled(_MODEL, name), ModelMetadata)

    @operation("oip_model_ready")
    def model_ready(self, name: str) -> Call[Ready]:
        """Returns when the live version can classify; else ``Unavailable``."""
        return Call("GET", filled(f"{_MODEL}/ready", name), Ready)

    @operation("oip_infer")
    def infer(
        self, name: str, texts: Sequence[str], *, outputs: Sequence[str] | None = None
    ) -> Call[InferenceAnswer]:
        """Classifies texts; one that is refused refuses the request."""
        return _infer(filled(f"{_MODEL}/infer", name), texts, outputs)

    @operation("oip_version_model")
    def version_metadata(self, name: str, version: str) -> Call[ModelMetadata]:
        """As ``model_metadata``, of a version that has to be the live one."""
        return Call("GET", filled(_VERSION, name, version), ModelMetadata)

    @operation("oip_version_model_ready")
    def version_ready(self, name: str, version: str) -> Call[Ready]:
        """As ``model_ready``, of a version that has to be the live one."""
        return Call("GET", filled(f"{_VERSION}/ready", name, version), Ready)

    @operation("oip_version_infer")
    def infer_version(
        self,
        name: str,
        version: str,
        texts: Sequence[str],
        *,
        outputs: Sequence[str] | None = None,
    ) -> Call[InferenceAnswer]:
        """As ``infer``, by a version that has to be the live one."""
        return _infer(filled(f"{_VERSION}/infer", name, version), texts, outputs)


def _infer(path: str, texts: Sequence[str], outputs: Sequence[str] | None) -> Call[InferenceAnswer]:
    tensor: dict[str, Any] = {
        "name": "text",
        "shape": [len(texts)],
        "datatype": "BYTES",
        "data": list(texts),
    }
    wanted = None if outputs is None else [{"name": name} for name in outputs]
    body = {"inputs": [tensor], **given(outputs=wanted)}
    return Call("POST", path, InferenceAnswer, json=body, repeatable=True, deadline=True)


class OpenInference(_OpenInference, SyncResource):
    """The protocol, for the sync client."""


class AsyncOpenInference(_OpenInference, AsyncResource):
    """The protocol, for the async client."""
