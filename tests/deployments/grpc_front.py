"""The real ingress behind a real gRPC server in this process, as Ray Serve has it.

Only what Ray Serve does between the two is played: it makes its own context of the call,
calls the ingress's method by name, and sets on the call what the context then says.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import grpc.aio
import uvicorn
from front import Stages, made_ingress
from ray.serve.grpc_util import RayServegRPCContext

from configs.schema.app import AppConfig
from deployments.oip.grpc_messages import METHODS, add_servicer
from operations.local_stack.ports import free_port


@contextmanager
def served(config: AppConfig, stages: Stages | None = None) -> Iterator[tuple[str, str]]:
    """Addresses of the HTTP door and of the gRPC door."""
    ready, stop = threading.Event(), threading.Event()
    ports: list[int] = []

    async def body() -> None:
        async with made_ingress(config, stages or Stages()) as ingress:
            server = grpc.aio.server()
            ports.append(server.add_insecure_port("127.0.0.1:0"))
            add_servicer(_Servicer(ingress), server)
            await server.start()
            ports.append(free_port())
            app = ingress.__serve_build_asgi_app__()
            web = uvicorn.Server(
                uvicorn.Config(app, port=ports[1], lifespan="off", log_level="error")
            )
            serving = asyncio.create_task(web.serve())
            while not web.started:  # noqa: ASYNC110 (uvicorn tells it no other way)
                await asyncio.sleep(0.01)
            ready.set()
            await asyncio.to_thread(stop.wait)
            web.should_exit = True
            await serving
            await server.stop(None)

    thread = threading.Thread(target=asyncio.run, args=(body(),))
    thread.start()
    try:
        assert ready.wait(20)
        yield f"127.0.0.1:{ports[1]}", f"127.0.0.1:{ports[0]}"
    finally:
        stop.set()
        thread.join(20)


class _Servicer:
    """Ray Serve's part."""

    def __init__(self, ingress: Any) -> None:
        for name in METHODS:
            setattr(self, name, self._method(getattr(ingress, name)))

    @staticmethod
    def _method(called: Any) -> Any:
        async def method(request: Any, context: Any) -> Any:
            ours = RayServegRPCContext(context)
            response = await called(request, grpc_context=ours)
            ours._set_on_grpc_context(context)
            return response

        return method
