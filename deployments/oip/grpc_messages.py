"""The Open Inference Protocol's gRPC messages, made from ``open_inference.proto``.

The compiled file lies beside it (``make proto``; a test compares them). Its messages live in a
descriptor pool of our own: a Triton client in the same process registers the same names, and
protobuf takes a name only once.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"
COMPILED = Path(__file__).with_name("open_inference.binpb")

_pool = DescriptorPool()
for _file in FileDescriptorSet.FromString(COMPILED.read_bytes()).file:
    _pool.Add(_file)
_methods = _pool.FindServiceByName(SERVICE).methods_by_name
METHODS = tuple(_methods)


def _message(name: str) -> Any:
    found = GetMessageClass(_pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
    found.__module__ = __name__  # where pickle looks for it
    return found


ServerLiveRequest = _message("ServerLiveRequest")
ServerLiveResponse = _message("ServerLiveResponse")
ServerReadyRequest = _message("ServerReadyRequest")
ServerReadyResponse = _message("ServerReadyResponse")
ModelReadyRequest = _message("ModelReadyRequest")
ModelReadyResponse = _message("ModelReadyResponse")
ServerMetadataRequest = _message("ServerMetadataRequest")
ServerMetadataResponse = _message("ServerMetadataResponse")
ModelMetadataRequest = _message("ModelMetadataRequest")
ModelMetadataResponse = _message("ModelMetadataResponse")
ModelInferRequest = _message("ModelInferRequest")
ModelInferResponse = _message("ModelInferResponse")


class Undecodable:
    """What came instead of a message: bytes that are none."""


def _decoder(message: Any) -> Callable[[bytes], object]:
    def decode(data: bytes) -> object:
        try:
            return message.FromString(data)
        except DecodeError:
            return Undecodable()  # gRPC itself would call it an internal error

    return decode


def response_of(method: str) -> Message:
    """An empty response of a method."""
    empty: Message = GetMessageClass(_methods[method].output_type)()
    return empty


def add_servicer(servicer: object, server: grpc.Server) -> None:
    """What ``grpc_options.grpc_servicer_functions`` of serve_config.yaml names.

    Args:
        servicer: Ray Serve's; it has a method for each of the protocol's.
        server: Ray Serve's too.
    """
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            getattr(servicer, name),
            request_deserializer=_decoder(GetMessageClass(method.input_type)),
            response_serializer=GetMessageClass(method.output_type).SerializeToString,
        )
        for name, method in _methods.items()
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
