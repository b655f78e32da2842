"""Every ingress of a stack, asked directly: each has figures of its own."""

import re
from pathlib import Path

import httpx

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


def pages(stack: Stack) -> list[str]:
    """The metrics page of each."""
    return [
        httpx.get(f"{address}/api/v1/metrics", timeout=30).raise_for_status().text
        for address in ingresses(stack)
    ]
