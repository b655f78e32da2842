"""The routing table: sticky, proportional, and by epoch."""

from dataclasses import replace

import pytest
from front import LIVE

from deployments.versions import RoutingTable, TrafficSlot, routing_key, share

OTHER = replace(LIVE, version=4, digest="cd" * 32)
KEYS = [f"user {i}".encode() for i in range(20_000)]


@pytest.mark.parametrize("weight", [0.01, 0.1, 0.5, 1.0])
def test_the_challenger_gets_its_share(weight: float) -> None:
    routes = RoutingTable(1, LIVE, challenger=TrafficSlot(OTHER, weight))
    part = sum(routes.choose(key) == OTHER for key in KEYS) / len(KEYS)
    assert part == pytest.approx(weight, abs=0.01)


def test_a_key_stays_where_it_is_and_grows_with_the_weight() -> None:
    small, large = (RoutingTable(1, LIVE, challenger=TrafficSlot(OTHER, w)) for w in (0.1, 0.3))
    for key in KEYS[:1_000]:
        assert small.choose(key) == small.choose(key)
        if small.choose(key) == OTHER:
            assert large.choose(key) == OTHER


def test_shadow_and_canary_are_drawn_independently() -> None:
    routes = RoutingTable(
        1, LIVE, challenger=TrafficSlot(OTHER, 0.5), shadow=TrafficSlot(OTHER, 0.5)
    )
    both = sum(routes.choose(k) == OTHER and routes.shadowed(k) == OTHER for k in KEYS)
    assert both / len(KEYS) == pytest.approx(0.25, abs=0.02)
    assert RoutingTable(1, LIVE).shadowed(b"x") is None
    assert RoutingTable(1, LIVE).choose(b"x") == LIVE


def test_the_key_is_the_clients_or_the_content() -> None:
    assert routing_key("ana", ["x"]) == routing_key("ana", ["y"])
    assert routing_key(None, ["x"]) != routing_key(None, ["y"])
    assert routing_key(None, ["ab", "c"]) != routing_key(None, ["a", "bc"])
    assert routing_key(None, ["\ud800"])
    assert 0 <= share(b"canary", b"") < 1
