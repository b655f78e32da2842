"""The Open Inference Protocol v2 over gRPC, through Ray Serve's gRPC ingress.

``serve_config.yaml`` opens it by naming ``grpc_messages.add_servicer``; Ray Serve then calls the
ingress's method of each name. What is behind is the HTTP door's: the same versions, limits,
caches, answers and errors.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from google.protobuf.message import Message

from configs.schema.app import LimitsConfig
from deployments.asgi.exchange import Exchange, Route
from deployments.errors import NotReady
from deployments.oip import grpc_messages as messages
from deployments.oip.grpc_call import CallContext, GrpcCall
from deployments.oip.grpc_codec import read_message, write_message, write_metadata
from deployments.oip.routes import OIP, OpenInference, metadata

# The HTTP route of the same meaning.
_ROUTES = {
    "ServerLive": ("GET", f"{OIP}/health/live"),
    "ServerReady": ("GET", f"{OIP}/health/ready"),
    "ModelReady": ("GET", f"{OIP}/models"),
    "ServerMetadata": ("GET", OIP),
    "ModelMetadata": ("GET", f"{OIP}/models"),
    "ModelInfer": ("POST", f"{OIP}/models"),
}


class GrpcMethods:
    """Part of the ingress: the methods that Ray Serve calls by their names."""

    _grpc: Route
    _run: Callable[[Exchange, Route], Awaitable[None]]

    async def ServerLive(self, request: Message, grpc_context: CallContext) -> Message:
        """Whether the server answers."""
        return await self._call("ServerLive", request, grpc_context)

    async def ServerReady(self, request: Message, grpc_context: CallContext) -> Message:
        """Whether a text can be classified now."""
        return await self._call("ServerReady", request, grpc_context)

    async def ModelReady(self, request: Message, grpc_context: CallContext) -> Message:
        """Whether a version is live and answers."""
        return await self._call("ModelReady", request, grpc_context)

    async def ServerMetadata(self, request: Message, grpc_context: CallContext) -> Message:
        """What this is."""
        return await self._call("ServerMetadata", request, grpc_context)

    async def ModelMetadata(self, request: Message, grpc_context: CallContext) -> Message:
        """Inputs and outputs of a version."""
        return await self._call("ModelMetadata", request, grpc_context)

    async def ModelInfer(self, request: Message, grpc_context: CallContext) -> Message:
        """Classifies texts."""
        return await self._call("ModelInfer", request, grpc_context)

    async def _call(self, name: str, request: Message, context: CallContext) -> Message:
        call = GrpcCall(name, _ROUTES[name], request, context)
        await self._run(call, self._grpc)
        return call.response


class GrpcDoor:
    """Answers calls."""

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
            RequestError: As the HTTP door.
        """
        call.check(self._limits)
        request: Any = call.request
        if call.name == "ModelInfer":
            call.finish(await self._infer(call, request))
        elif call.name == "ModelMetadata":
            model = self._oip.find(request.name, request.version)
            call.finish(write_metadata(metadata(model)))
        elif call.name == "ModelReady":
            self._oip.find(request.name, request.version)
            call.finish(messages.ModelReadyResponse(ready=await self._is_ready()))
        elif call.name == "ServerReady":
            call.finish(messages.ServerReadyResponse(ready=await self._is_ready()))
        elif call.name == "ServerMetadata":
            call.finish(messages.ServerMetadataResponse(**self._oip.server))
        else:
            call.finish(messages.ServerLiveResponse(live=True))

    async def _infer(self, call: GrpcCall, request: Any) -> Message:
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
