"""One message to a caller's server: signed, to listed hosts only, in a bounded time.

The address is looked up here and the connection goes to just that address, so a name cannot
point elsewhere between check and call. Redirects are not followed, nothing of the answer is
read but its status, and no proxy is used.
"""

import asyncio
import hashlib
import hmac
import ipaddress
import re
import socket
import ssl
from collections.abc import Callable, Sequence
from urllib.parse import SplitResult, urlsplit

from configs.schema.jobs import WebhookConfig
from deployments.jobs.errors import JobRefused

Resolve = Callable[[str, int], Sequence[str]]
_PORTS = {"http": 80, "https": 443}
_MAX_URL_CHARS = 2_000
_MAX_LINE_BYTES = 16_384
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")


class WebhookFailed(Exception):
    """The message did not arrive; the text is for the log and names no path of the address."""


def resolve(host: str, port: int) -> list[str]:
    """Addresses of a host.

    Raises:
        OSError: There are none.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class Webhook:
    """Checks addresses and sends messages."""

    def __init__(self, config: WebhookConfig, find: Resolve = resolve) -> None:
        self._secret = config.secret.get_secret_value().encode("utf-8")
        self._timeout_s = config.timeout_ms / 1_000
        self._find = find
        # Each with the one port that may be called there, or any.
        listed = [_split(host) for host in config.hosts]
        self._names = {(host.lower(), port) for host, port in listed}
        self._networks = [(net, port) for host, port in listed if (net := _network(host))]

    def check(self, url: str) -> None:
        """Checks that an address may be called.

        Raises:
            JobRefused: Its host is not listed, or it is no plain http or https address.
        """
        wrong = {"field": "webhook_url"}
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise JobRefused("webhook_url is no address", wrong) from error
        odd = len(url) > _MAX_URL_CHARS or not url.isascii() or any(c <= " " for c in url)
        if odd or parts.scheme not in _PORTS or not host or port == 0 or "@" in parts.netloc:
            raise JobRefused("webhook_url must be a plain http or https address", wrong)
        address = _address(host)
        port = port or _PORTS[parts.scheme]
        names = {(host.lower(), port), (host.lower(), None)}
        listed = self._is_listed(address, port) if address else bool(names & self._names)
        if not listed:
            raise JobRefused("webhook_url names a host that is not in jobs.webhook.hosts", wrong)
        if parts.scheme == "http" and address is None:
            raise JobRefused("webhook_url must begin with https://", wrong)

    async def send(self, url: str, body: bytes, now_s: float) -> None:
        """Posts ``body`` with its signature.

        Raises:
            WebhookFailed: It was not answered with a status of 200 to 299 within the time.
        """
        try:
            self.check(url)
            async with asyncio.timeout(self._timeout_s):
                status = await self._post(urlsplit(url), body, now_s)
        except JobRefused as error:
            raise WebhookFailed("the host is not listed any more") from error
        except (OSError, ValueError) as error:
            raise WebhookFailed(type(error).__name__) from error
        if not 200 <= status < 300:
            raise WebhookFailed(f"status {status}")

    async def _post(self, parts: SplitResult, body: bytes, now_s: float) -> int:
        """Returns the status of the answer.

        Raises:
            WebhookFailed: The name stands for an address that may not be called.
            OSError: There is no connection, or it broke.
            ValueError: The answer is not HTTP, or not whole.
        """
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        address = await asyncio.to_thread(self._address, host, port)
        tls = ssl.create_default_context() if parts.scheme == "https" else None
        reader, writer = await asyncio.open_connection(
            address, port, limit=_MAX_LINE_BYTES, ssl=tls, server_hostname=host if tls else None
        )
        try:
            writer.write(
                f"POST {path} HTTP/1.1\r\n"
                f"Host: {parts.netloc}\r\n"
                f"Content-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n"
                f"User-Agent: sentigraph\r\n"
                f"X-Sentigraph-Signature: {sign(self._secret, body, now_s)}\r\n"
                f"Connection: close\r\n\r\n".encode()
                + body
            )
            while True:
                line = await reader.readline()
                found = _STATUS.match(line)
                if found is None:
                    raise ValueError("not HTTP")
                if (status := int(found[1])) >= 200:
                    return status
                while (await reader.readline()).strip():
                    pass  # the headers of an interim answer, as 100
        finally:
            writer.transport.abort()

    def _address(self, host: str, port: int) -> str:
        """Returns the first address of a host, all of which may be called.

        Raises:
            OSError: There is none.
            WebhookFailed: One of them is private and not listed.
        """
        addresses = self._find(host, port)
        for text in addresses:
            address = ipaddress.ip_address(text.partition("%")[0])
            if not (address.is_global or self._is_listed(address, port)):
                raise WebhookFailed("the host's address is private and not listed")
        return addresses[0]

    def _is_listed(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> bool:
        return any(address in network and only in (None, port) for network, only in self._networks)


def sign(secret: bytes, body: bytes, now_s: float) -> str:
    """``t=SECONDS,v1=HEX``: HMAC-SHA256 over ``SECONDS.body``, so that an old message shows."""
    stamp = str(int(now_s))
    digest = hmac.new(secret, f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={stamp},v1={digest}"


def _split(listed: str) -> tuple[str, int | None]:
    """``HOST``, ``HOST:PORT``, ``NETWORK`` or ``[IPV6]:PORT``."""
    host, colon, port = listed.rpartition(":")
    if not colon or not port.isdigit() or (":" in host and not host.startswith("[")):
        return listed.strip("[]"), None
    return host.strip("[]"), int(port)


def _network(host: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(host)
    except ValueError:
        return None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
