"""Every ingress of a stack, asked directly: each has figures of its own."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from configs.sources.front_key import FRONT_HEADER, front_key
from operations.front.watchdog import KEPT
from operations.local_stack.stack import Stack

_SERVER = re.compile(r"(?m)^ *server (?!\S*fallback)\S+ (\S+:\d+) check(?! backup)")
_BACKEND = re.compile(r"(?ms)^backend http-sentigraph\S*\n(.*?)(?=^\S|\Z)")


def ingresses(stack: Stack) -> list[str]:
    """Their addresses, as HAProxy has them now."""
    folder = Path(stack.environ["RAY_SERVE_HAPROXY_CONFIG_FILE_LOC"]).parent
    [file] = folder.glob(f"**/{KEPT}")
    [backend] = _BACKEND.findall(file.read_text(encoding="utf-8"))
    return [f"http://{address}" for address in _SERVER.findall(backend)]


def from_front(stack: Stack) -> dict[str, str]:
    """The header by which they take a request for one of HAProxy's."""
    return {FRONT_HEADER: f"{front_key(stack.environ)} 127.0.0.1"}


@contextmanager
def clients(stack: Stack) -> Iterator[list[httpx.Client]]:
    """One of each."""
    with ExitStack() as ends:
        yield [
            ends.enter_context(
                httpx.Client(base_url=f"{address}/api/v1", timeout=30, headers=from_front(stack))
            )
            for address in ingresses(stack)
        ]


def pages(stack: Stack) -> list[str]:
    """The metrics page of each."""
    with clients(stack) as each:
        return [client.get("/metrics").raise_for_status().text for client in each]
