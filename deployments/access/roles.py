"""Which role each route needs; a route that is missing here needs ``admin`` and fails a test."""

from typing import Literal

from configs.schema.access import Role

Public = Literal["service", "health", "metrics", "docs"]
Need = Role | Public
_READING = ("GET", "HEAD")

# Path and everything below it: role to read, role for all other methods. The longest wins.
RULES: dict[str, tuple[Need, Need]] = {
    "/": ("service", "admin"),
    "/console": ("service", "admin"),
    "/api/v1/predict": ("predict", "predict"),
    "/api/v1/feedback": ("predict", "predict"),
    "/api/v1/batch": ("predict", "predict"),
    "/health": ("health", "admin"),
    "/ready": ("health", "admin"),
    "/metrics": ("metrics", "admin"),
    "/api/v1/health": ("health", "admin"),
    "/api/v1/ready": ("health", "admin"),
    "/api/v1/model-info": ("predict", "admin"),
    "/api/v1/model": ("predict", "admin"),
    "/api/v1/metrics": ("metrics", "admin"),
    "/api/v1/kafka-metrics": ("metrics", "admin"),
    "/api/v1/kafka/metrics": ("metrics", "admin"),
    "/api/v1/docs": ("docs", "admin"),
    "/api/v1/openapi.json": ("docs", "admin"),
    "/api/v1/cache": ("admin", "admin"),
    "/api/v1/chaos": ("admin", "admin"),
    "/v2": ("predict", "predict"),
    "/v2/health": ("health", "admin"),
    "/api/v1/models": ("registry-read", "registry-write"),
    "/api/v1/monitoring/explain": ("explain", "explain"),
    "/api/v1/monitoring/labels": ("review", "review"),
    "/api/v1/monitoring": ("registry-read", "admin"),
}
_DEPTH = max(path.count("/") for path in RULES)


def rule_of(path: str) -> tuple[Need, Need] | None:
    """The rule of a path or of what it is below; by whole segments, so not ``/predictable``."""
    if path == "/":
        return RULES["/"]
    parts = path.split("/", _DEPTH + 1)[: _DEPTH + 1]
    while any(parts):
        rule = RULES.get("/".join(parts))
        if rule is not None:
            return rule
        parts.pop()
    return None


def needed(method: str, path: str) -> Need:
    """The role, or the kind of public route."""
    rule = rule_of(path)
    if rule is None:
        return "admin"
    return rule[0] if method in _READING else rule[1]
