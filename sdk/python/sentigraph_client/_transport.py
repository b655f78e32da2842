"""Steps carried out over ``httpx2``: requests made, answers read, files streamed both ways."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import httpx2

from sentigraph_client._call import Reply, Send
from sentigraph_client.errors import ConnectionFailed

_CONNECT_S = 5.0
# Raised before any byte of the request can have left.
_UNSENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


def send_sync(http: httpx2.Client, base_url: str, send: Send) -> Reply | ConnectionFailed:
    """One try."""
    try:
        with _request(http, base_url, send) as request:
            response = http.send(request, stream=True)
            try:
                if send.call.into is None or response.status_code >= 400:
                    return _reply(response, response.read())
                with _file(send.call.into, response.headers) as file:
                    for chunk in response.iter_bytes():
                        file.write(chunk)
                return _reply(response, b"")
            finally:
                response.close()
    except httpx2.RequestError as error:
        return _failed(error)


async def send_async(
    http: httpx2.AsyncClient, base_url: str, send: Send
) -> Reply | ConnectionFailed:
    """One try. Files are read and written between the awaits, a chunk at a time."""
    try:
        with _request(http, base_url, send) as request:
            response = await http.send(request, stream=True)
            try:
                if send.call.into is None or response.status_code >= 400:
                    return _reply(response, await response.aread())
                with _file(send.call.into, response.headers) as file:
                    async for chunk in response.aiter_bytes():
                        file.write(chunk)
                return _reply(response, b"")
            finally:
                await response.aclose()
    except httpx2.RequestError as error:
        return _failed(error)


@contextmanager
def _request(
    http: httpx2.Client | httpx2.AsyncClient, base_url: str, send: Send
) -> Iterator[httpx2.Request]:
    call = send.call
    with ExitStack() as stack:
        body: dict[str, Any] = {} if call.json is None else {"json": call.json}
        if call.upload is not None:
            file = stack.enter_context(call.upload.file.open("rb"))
            body = {"files": {"file": (call.upload.file.name, file)}, "data": call.upload.fields}
        yield http.build_request(
            call.method,
            f"{base_url}{call.path}",
            params={name: value for name, value in call.query.items() if value is not None},
            headers=send.headers,
            timeout=httpx2.Timeout(send.timeout_s, connect=min(_CONNECT_S, send.timeout_s)),
            **body,
        )


@contextmanager
def _file(path: Path, headers: Mapping[str, str]) -> Iterator[BinaryIO]:
    """The file at ``path``, which is there only once it is whole."""
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            yield file
            written = file.tell()
        announced = headers.get("content-length", str(written))
        if "content-encoding" not in headers and int(announced) != written:
            raise httpx2.ReadError(f"{written} bytes came of {announced}")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _reply(response: httpx2.Response, body: bytes) -> Reply:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Reply(response.status_code, headers, body)


def _failed(error: httpx2.RequestError) -> ConnectionFailed:
    failed = ConnectionFailed(
        f"{type(error).__name__}: {error}", sent=not isinstance(error, _UNSENT)
    )
    failed.__cause__ = error
    return failed
