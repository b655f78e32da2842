"""Which series are declared, and which a dashboard or a rule queries."""

import re
from collections.abc import Iterator, Mapping, Set
from pathlib import Path

import yaml

from deployments.telemetry.metrics import families
from monitoring.dashboards import BOARDS
from monitoring.promql import series_in

RULES = Path(__file__).parent / "rules.yaml"
_NAME = re.compile(r"\b(?:sentiment|ray|sentigraph|kafka)[\w:]*(?=[\[{) ]|$)")
_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}


def declared() -> dict[str, tuple[str, ...]]:
    """Each family that the graph declares, with the names of its series."""
    return {
        family.name: tuple(family.name + suffix for suffix in _SUFFIXES[family.kind])
        for family in families()
    }


def in_panels() -> dict[str, set[str]]:
    """Dashboard → the series that its panels ask for."""
    return {
        board.name: {
            name
            for panel in board.panels()
            for query in panel.queries
            for name in series_in(query.expr)
        }
        for board in BOARDS
    }


def in_rules() -> dict[str, set[str]]:
    """Alert or recording rule → the series that it asks for, recorded ones left out."""
    rules = [rule for group in _groups() for rule in group["rules"]]
    recorded = {rule["record"] for rule in rules if "record" in rule}
    return {
        rule.get("alert") or rule["record"]: set(_NAME.findall(rule["expr"])) - recorded
        for rule in rules
    }


def asked_for() -> set[str]:
    """Every series that a panel or a rule asks for."""
    used: set[str] = set()
    for names in (*in_panels().values(), *in_rules().values()):
        used |= names
    return used


def seen_in(series: tuple[str, ...], places: Mapping[str, Set[str]]) -> list[str]:
    """The dashboards or rules that ask for one of these series."""
    return sorted(place for place, names in places.items() if names & set(series))


def _groups() -> Iterator[dict[str, list[dict[str, str]]]]:
    yield from yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
