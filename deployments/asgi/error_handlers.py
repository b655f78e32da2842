"""Every error of a FastAPI application in the one error body."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.asgi.exchange import ClientGone
from deployments.asgi.schemas import ErrorBody
from deployments.errors import (
    InternalError,
    InvalidInput,
    MalformedBody,
    MethodNotAllowed,
    NotFound,
    RequestError,
)
from deployments.telemetry.log_context import REQUEST

_log = logging.getLogger("ray.serve.sentigraph")


class LastResort:
    """Answers a request that met an unforeseen error, and ends it there.

    Starlette's own handler raises again after its answer, which a server takes for a broken
    connection: the next request on it would end without an answer.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI. An error after the answer has begun is raised: it cannot be whole any more."""
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except ClientGone:
            raise
        except Exception:
            if begun:
                raise
            _log.exception("unhandled error")
            error = InternalError("the request could not be answered")
            answer = error_answer(error.status, error.code, error.message)
            await answer(scope, receive, send)


def error_answer(
    status: int,
    code: str,
    message: str,
    *,
    headers: Mapping[str, str] | None = None,
    context: Mapping[str, object] | None = None,
) -> Response:
    """The one error body as an answer."""
    known = REQUEST.get()
    body = ErrorBody(
        error_code=code,
        error_message=message,
        status_code=status,
        correlation_id="" if known is None else known.correlation_id,
        context=dict(context or {}),
    )
    return JSONResponse(body.model_dump(mode="json"), status, headers)


def add_error_handlers(app: FastAPI) -> None:
    """Makes every failure of an application end in the one error body."""
    app.add_middleware(LastResort)

    async def on_request_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestError)
        return error_answer(
            error.status,
            error.code,
            error.message,
            headers=error.headers(),
            context=error.context,
        )

    def via(convert: Callable[[Any, Request], RequestError]) -> Callable[..., Awaitable[Response]]:
        async def on_error(request: Request, error: Exception) -> Response:
            return await on_request_error(request, convert(error, request))

        return on_error

    app.add_exception_handler(RequestError, on_request_error)
    app.add_exception_handler(HTTPException, via(_from_http))
    app.add_exception_handler(RequestValidationError, via(_from_validation))


def _from_http(error: HTTPException, request: Request) -> RequestError:
    if error.status_code == 404:
        return NotFound("no such route; see the OpenAPI document for those that exist")
    if error.status_code == 405:
        allow = ", ".join(sorted(_allowed(request)))
        return MethodNotAllowed.of(request.method, allow)
    if 400 <= error.status_code < 500:
        # Bytes that are no UTF-8, a form that is none.
        return MalformedBody("the body cannot be read as what its Content-Type says")
    return InternalError("the request could not be answered")


def _allowed(request: Request) -> set[str]:
    """Methods of the path; Starlette itself names those of its first route only.

    Those of a pattern that matches too are left out: nothing answers to `/models/search` as a name.
    """
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    routes = [
        route for route in iter_route_contexts(request.app.routes) if route.path_regex.match(path)
    ]
    return {
        method for route in routes if route.path == routes[0].path for method in route.methods or ()
    }


def _from_validation(error: RequestValidationError, request: Request) -> RequestError:
    problems = [
        {"field": ".".join(map(str, item["loc"])), "problem": item["msg"]}
        for item in error.errors()[:5]
    ]
    return InvalidInput("; ".join(f"{p['field']}: {p['problem']}" for p in problems))
