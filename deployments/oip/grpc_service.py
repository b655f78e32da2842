"""The Open Inference Protocol v2 over gRPC, through Ray Serve's gRPC ingress.

``serve_config.yaml`` opens it by naming ``grpc_messages.add_servicer``; Ray Serve then calls the
ingress's method of each name. Versions, limits, caches, answers and errors are those of the
protocol over HTTP.
"""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, cast

from google.protobuf.message import Message

from configs.schema.app import LimitsConfig
from deployments.asgi.exchange import Exchange, Route
from deployments.errors import NotReady
from deployments.oip import grpc_messages as messages
from deployments.oip.grpc_call import CallContext, GrpcCall
from deployments.oip.grpc_codec import read_message, write_message, write_metadata
from deployments.oip.routes import OIP, OpenInference, metadata


class GrpcService:
    """Answers the protocol's methods."""

    def __init__(
        self,
        oip: OpenInference,
        ready: Callable[[], Awaitable[object]],
        limits: LimitsConfig,
    ) -> None:
        self._oip = oip
        self._ready = ready
        self._limits = limits

    async def handle(self, call: GrpcCall) -> None:
        """Answers one call.

        Raises:
            RequestError: As over HTTP.
        """
        call.check(self._limits)
        call.finish(await _METHODS[call.name].answer(self, call, call.request))

    async def server_live(self, call: GrpcCall, request: Any) -> Message:
        """That the server answers."""
        return cast(Message, messages.ServerLiveResponse(live=True))

    async def server_ready(self, call: GrpcCall, request: Any) -> Message:
        """Whether a text can be classified now."""
        return cast(Message, messages.ServerReadyResponse(ready=await self._is_ready()))

    async def server_metadata(self, call: GrpcCall, request: Any) -> Message:
        """Name and version of the server."""
        return cast(Message, messages.ServerMetadataResponse(**self._oip.server))

    async def model_ready(self, call: GrpcCall, request: Any) -> Message:
        """Whether a version is live and answers."""
        self._oip.find(request.name, request.version)
        return cast(Message, messages.ModelReadyResponse(ready=await self._is_ready()))

    async def model_metadata(self, call: GrpcCall, request: Any) -> Message:
        """Inputs and outputs of a version."""
        return write_metadata(metadata(self._oip.find(request.name, request.version)))

    async def model_infer(self, call: GrpcCall, request: Any) -> Message:
        """Classifies texts."""
        deadline_s = call.deadline_s(self._limits)
        pinned = self._oip.find(request.model_name, request.model_version)
        asked = read_message(request)
        model, tensors = await self._oip.classify(
            call, asked.texts, deadline_s, pinned if request.model_version else None
        )
        return write_message(model.name, model.version, tensors, asked)

    async def _is_ready(self) -> bool:
        try:
            await self._ready()
        except NotReady:
            return False
        return True


class _Method(NamedTuple):
    """A method of the protocol: what answers it, and the HTTP route of the same meaning."""

    answer: Callable[[GrpcService, GrpcCall, Any], Awaitable[Message]]
    http_method: str
    path: str


_METHODS = {
    "ServerLive": _Method(GrpcService.server_live, "GET", f"{OIP}/health/live"),
    "ServerReady": _Method(GrpcService.server_ready, "GET", f"{OIP}/health/ready"),
    "ServerMetadata": _Method(GrpcService.server_metadata, "GET", OIP),
    "ModelReady": _Method(GrpcService.model_ready, "GET", f"{OIP}/models"),
    "ModelMetadata": _Method(GrpcService.model_metadata, "GET", f"{OIP}/models"),
    "ModelInfer": _Method(GrpcService.model_infer, "POST", f"{OIP}/models"),
}


class GrpcMethods:
    """Part of the ingress: a method of each name in ``_METHODS``, which Ray Serve calls."""

    _grpc: Route
    _run: Callable[[Exchange, Route], Awaitable[None]]


def _method(name: str, method: _Method) -> Callable[..., Awaitable[Message]]:
    async def call(self: GrpcMethods, request: Message, grpc_context: CallContext) -> Message:
        made = GrpcCall(name, (method.http_method, method.path), request, grpc_context)
        await self._run(made, self._grpc)
        return made.response

    call.__name__, call.__doc__ = name, method.answer.__doc__
    return call


for _name, _each in _METHODS.items():
    setattr(GrpcMethods, _name, _method(_name, _each))
