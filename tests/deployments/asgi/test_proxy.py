"""An application behind the relay that fails: before, within and past its answer."""

import asyncio
from typing import Any

import pytest

from deployments.asgi.proxy import Call, Head, ProxyServer

CALL = Call("1", "GET", "/", b"", [], "c", b"")


def answer_of(more: bool | None) -> tuple[list[Any], bool]:
    """Parts of the answer of an application that fails, and whether its failure was passed on.

    ``more``: what it said last of its body; None: it said nothing.
    """

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if more is not None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"x" * 9, "more_body": more})
        raise ZeroDivisionError

    async def body() -> tuple[list[Any], bool]:
        parts = []
        try:
            async for part in ProxyServer(app).call(CALL):
                parts.append(part)
        except ZeroDivisionError:
            return parts, True
        return parts, False

    return asyncio.run(body())


@pytest.mark.parametrize("more", [True, None])
def test_an_answer_that_is_not_whole_is_broken(more: bool | None) -> None:
    assert answer_of(more)[1]


def test_a_whole_answer_is_not_broken_afterwards() -> None:
    assert answer_of(False) == ([None, Head(200, []), b"x" * 9], False)
