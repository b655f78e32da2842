"""Where a request comes from, when proxies stand between. Pure.

The peer's address is known; those before it are only in ``X-Forwarded-For``, which any client can
send. So that header is believed from right to left, as far as the addresses are trusted proxies'.
The peer itself is nearly always HAProxy, which names its own peer in a header with the cluster's
key (``configs/sources/front_key.py``).
"""

import hmac
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from configs.errors import ConfigError
from configs.schema.app import AppConfig
from configs.sources.front_key import FRONT_HEADER
from deployments.asgi.exchange import Exchange

_MOST_HOPS = 32


class TrustedProxies:
    """Finds the last address that is not a trusted proxy's."""

    def __init__(self, networks: Sequence[str]) -> None:
        """Trusts proxies in ``networks``, such as ``10.0.0.0/8``."""
        self._networks = [ip_network(network) for network in networks]

    def client(self, peer: str, forwarded_for: str | None) -> str:
        """Returns the client's address; empty when the peer has none.

        Args:
            peer: The address of the connection.
            forwarded_for: The header ``X-Forwarded-For``.
        """
        address = _parsed(peer)
        if address is None:
            return ""
        hops = (forwarded_for or "").split(",")[-_MOST_HOPS:]
        while hops and self._trusts(address):
            before = _parsed(hops.pop().strip())
            if before is None:
                break  # not an address: the last proxy counts
            address = before
        return str(address)

    def _trusts(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._networks)


class ClientAddresses:
    """Finds the client's address of a request."""

    def __init__(self, trusted_proxies: Sequence[str], front_key: str) -> None:
        """Believes HAProxy by ``front_key``, if there is one, and ``trusted_proxies`` behind it."""
        self._proxies = TrustedProxies(trusted_proxies)
        self._key = front_key.encode("ascii")

    def of(self, exchange: Exchange) -> tuple[str, bool]:
        """The address, and whether the request came through this cluster's HAProxy.

        IPv6 clients have a network each, so their address is that of the first 64 bits.
        """
        key, _, address = (exchange.header(FRONT_HEADER) or "").partition(" ")
        from_front = bool(self._key) and hmac.compare_digest(key.encode("latin-1"), self._key)
        peer = address if from_front else (exchange.scope.get("client") or ("", 0))[0]
        client = _parsed(self._proxies.client(peer, exchange.header("x-forwarded-for")))
        if isinstance(client, IPv6Address):
            return str(ip_network((client, 64), strict=False).network_address), from_front
        return "" if client is None else str(client), from_front


def own_addresses(config: AppConfig, front_key: str) -> ClientAddresses:
    """Those of an ingress replica.

    Raises:
        ConfigError: Only what came through HAProxy is to be answered, and nothing shows that.
    """
    if config.server.front_only and not front_key:
        raise ConfigError("server.front_only=True and Ray has no token: set RAY_AUTH_MODE=token")
    return ClientAddresses(config.access.trusted_proxies, front_key)


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
