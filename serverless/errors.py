"""What a lite server answers where the graph has more."""

from deployments.errors import FeatureOff


class NotInLite(FeatureOff, status=501):
    """A route of the graph that a lite server does not have."""
