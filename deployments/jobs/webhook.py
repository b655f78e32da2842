"""Tells the caller's server that a job has ended: signed, to listed hosts only, at least once.

The address is looked up here and the connection goes to just that address, so a name cannot
point elsewhere between check and call. Redirects are not followed, nothing of the answer is
read but its status, and no proxy is asked.
"""

import hashlib
import hmac
import http.client
import ipaddress
import socket
import ssl
from collections.abc import Callable, Sequence
from urllib.parse import SplitResult, urlsplit

from configs.schema.jobs import WebhookConfig
from deployments.jobs.errors import JobRefused

Resolve = Callable[[str, int], Sequence[str]]
_PORTS = {"http": 80, "https": 443}
_MAX_URL_CHARS = 2_000
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 2.0, 600.0


class WebhookFailed(Exception):
    """The message did not arrive; the text is for the log and names no path of the address."""


def resolve(host: str, port: int) -> list[str]:
    """Addresses of a host.

    Raises:
        OSError: There are none.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def pause_s(attempts: int) -> float:
    """Pause after that many failed attempts: 2 s, doubled each time, at most 10 minutes."""
    return float(min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** (attempts - 1)))


class Webhook:
    """Sends messages. ``send`` blocks: call it in a thread."""

    def __init__(self, config: WebhookConfig, find: Resolve = resolve) -> None:
        self._secret = config.secret.get_secret_value().encode("utf-8")
        self._timeout_s = config.timeout_ms / 1_000
        self._find = find
        self._names = {host.lower() for host in config.hosts}
        self._networks = [network for host in config.hosts if (network := _network(host))]

    def check(self, url: str) -> None:
        """Refuses an address that would not be called.

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
        listed = self._is_listed(address) if address else host.lower() in self._names
        if not listed:
            raise JobRefused("webhook_url names a host that is not in jobs.webhook.hosts", wrong)
        if parts.scheme == "http" and address is None:
            raise JobRefused("webhook_url must begin with https://", wrong)

    def send(self, url: str, body: bytes, now_s: float) -> None:
        """Posts ``body`` with its signature.

        Raises:
            WebhookFailed: It did not answer with a status of 200 to 299 in time.
        """
        try:
            self.check(url)
            parts = urlsplit(url)
            connection = self._connection(parts)
            try:
                path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                connection.request("POST", path, body, self._headers(parts, body, now_s))
                status = connection.getresponse().status
            finally:
                connection.close()
        except JobRefused as error:
            raise WebhookFailed("the host is not listed any more") from error
        except (OSError, http.client.HTTPException) as error:
            raise WebhookFailed(type(error).__name__) from error
        if not 200 <= status < 300:
            raise WebhookFailed(f"status {status}")

    def _headers(self, parts: SplitResult, body: bytes, now_s: float) -> dict[str, str]:
        signature = sign(self._secret, body, now_s)
        return {
            "Host": parts.netloc,
            "Content-Type": "application/json",
            "User-Agent": "sentigraph",
            "X-Sentigraph-Signature": signature,
        }

    def _connection(self, parts: SplitResult) -> http.client.HTTPConnection:
        host = parts.hostname or ""
        port = parts.port or _PORTS[parts.scheme]
        addresses = self._find(host, port)
        for text in addresses:
            address = ipaddress.ip_address(text.partition("%")[0])
            if not (address.is_global or self._is_listed(address)):
                raise WebhookFailed("the host's address is private and not listed")
        connection = http.client.HTTPConnection(host, port, timeout=self._timeout_s)
        plain = socket.create_connection((addresses[0], port), self._timeout_s)
        if parts.scheme == "https":
            connection.sock = ssl.create_default_context().wrap_socket(plain, server_hostname=host)
        else:
            connection.sock = plain
        return connection

    def _is_listed(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        return any(address in network for network in self._networks)


def sign(secret: bytes, body: bytes, now_s: float) -> str:
    """``t=SECONDS,v1=HEX``: HMAC-SHA256 over ``SECONDS.body``, so an old message is told."""
    stamp = str(int(now_s))
    digest = hmac.new(secret, f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={stamp},v1={digest}"


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
