"""Stands for Ray's metrics in tests without Ray."""

from collections.abc import Sequence


class Gauges:
    """Keeps what is set."""

    def __init__(self) -> None:
        self.labels: dict[str, tuple[str, ...]] = {}
        self.series: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}

    def make(self, name: str, text: str, labels: Sequence[str]) -> "Named":
        assert name not in self.labels, "made twice"
        assert text
        self.labels[name] = tuple(labels)
        return Named(self, name)


class Named:
    def __init__(self, gauges: Gauges, name: str) -> None:
        self._gauges, self._name = gauges, name

    def set(self, value: float, tags: dict[str, str] | None = None) -> None:
        tags = tags or {}
        assert set(tags) <= set(self._gauges.labels[self._name])
        assert all(value.isascii() for value in tags.values()), "Ray refuses it"
        self._gauges.series[self._name, frozenset(tags.items())] = value
