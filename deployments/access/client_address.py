"""Where a request comes from, when proxies stand between. Pure.

Whoever connects is known; what stood before is only what ``X-Forwarded-For`` says, and anybody
can send that header. So it is believed from right to left, as far as the addresses are trusted
proxies'.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

_MOST_HOPS = 32


class TrustedProxies:
    """Finds the first address that is no trusted proxy's."""

    def __init__(self, networks: Sequence[str]) -> None:
        """Takes networks as ``10.0.0.0/8``."""
        self._networks = [ip_network(network) for network in networks]

    def client(self, peer: str, forwarded_for: str | None) -> str:
        """The client's address; empty when the peer has none.

        Args:
            peer: Who is connected.
            forwarded_for: The header ``X-Forwarded-For``.
        """
        address = _parsed(peer)
        if address is None:
            return ""
        hops = (forwarded_for or "").split(",")[-_MOST_HOPS:]
        while hops and self._trusts(address):
            before = _parsed(hops.pop().strip())
            if before is None:
                break  # whatever it is, it is no address to blame
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
