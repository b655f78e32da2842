"""The metrics of which versions are served and which are registered.

An ingress sets the first, the Registry deployment the second. Where they differ for long, a
change of the registry did not reach the ingresses (alert ``ServingDrift``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from deployments.telemetry.metric_table import MetricTable, gauge
from deployments.versions import RoutingTable
from registry.lifecycle.state import CHAMPION, SLOTS

if TYPE_CHECKING:
    # Ingresses need no store.
    from registry.lifecycle.alias_watcher import AliasAssignment

_LABELS = ("name", "role")


class VersionMetrics(MetricTable):
    """Version numbers by role (champion, challenger, shadow); 0 where a role has none."""

    _info = gauge(
        "sentiment_model_version_info",
        "A version that this ingress asks, in whichever role; always 1.",
        "name",
        "version",
        "digest",
    )
    _serving = gauge(
        "sentiment_serving_version",
        "Version number that this ingress asks in a role; 0 for none.",
        *_LABELS,
    )
    _registered = gauge(
        "sentiment_registry_version",
        "Version number that the registry gives a role; 0 for none.",
        *_LABELS,
    )

    _followed = gauge(
        "sentiment_registry_up",
        "1 while the registry can be followed, as this ingress knows it; 0 while MLflow is away.",
    )

    def __init__(self, registry: CollectorRegistry) -> None:
        """Makes the families, in ``registry``; only an ingress knows whether MLflow answers."""
        super().__init__(registry)
        self._followed.set(math.nan)

    def serve(self, routes: RoutingTable) -> None:
        """Sets the versions that this ingress asks, and whether they can change."""
        self._followed.set(not routes.registry_away)
        slots = {CHAMPION: routes.champion}
        slots |= {role: slot.model for role in SLOTS if (slot := getattr(routes, role)) is not None}
        self._info.clear()
        for live in slots.values():
            self._info.labels(live.name, str(live.version), live.digest).set(1)
        for role in (CHAMPION, *SLOTS):
            version = slots[role].version if role in slots else 0
            self._serving.labels(routes.champion.name, role).set(version)

    def register(self, name: str, alias: str, places: Mapping[str, AliasAssignment]) -> None:
        """Sets the versions that the registry has for the served model.

        Args:
            name: The model.
            alias: The one whose version is the champion here.
            places: The version of each alias.
        """
        for role, holder in ((CHAMPION, alias), *((slot, slot) for slot in SLOTS)):
            place = places.get(holder)
            on = place is not None and place.weight > 0
            self._registered.labels(name, role).set(place.version if place and on else 0)
