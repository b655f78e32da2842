"""Where a request comes from, when proxies stand between. Pure.

The peer's address is known; those before it are only in ``X-Forwarded-For``, which any client can
send. So that header is believed from right to left, as far as the addresses are trusted proxies'.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

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


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
