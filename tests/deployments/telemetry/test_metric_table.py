"""A class body that declares families; an instance that has them."""

from prometheus_client import CollectorRegistry

from deployments.telemetry.metric_table import MetricTable, counter, gauge, histogram


class Table(MetricTable):
    asked = counter("asked", "Questions.", "kind", known=("open", "closed"))
    waiting = gauge("waiting", "Questions without an answer.")
    seconds = histogram("seconds", "Time to an answer.", "kind", buckets=(1, 2))
    other = "no family"


def test_an_instance_has_what_the_class_declares() -> None:
    registry = CollectorRegistry()
    table = Table(registry)
    assert registry.get_sample_value("asked_total", {"kind": "closed"}) == 0.0
    assert registry.get_sample_value("seconds_count", {"kind": "open"}) is None
    table.asked.labels("open").inc()
    table.waiting.set(3)
    table.seconds.labels("open").observe(1.5)
    assert registry.get_sample_value("asked_total", {"kind": "open"}) == 1.0
    assert registry.get_sample_value("waiting") == 3.0
    bounds = {"1.0": 0.0, "2.0": 1.0, "+Inf": 1.0}
    for bound, count in bounds.items():
        labels = {"kind": "open", "le": bound}
        assert registry.get_sample_value("seconds_bucket", labels) == count


def test_each_instance_counts_for_itself() -> None:
    first, second = CollectorRegistry(), CollectorRegistry()
    Table(first).waiting.set(1)
    Table(second)
    assert first.get_sample_value("waiting") == 1.0
    assert second.get_sample_value("waiting") == 0.0


def test_the_class_keeps_its_declarations() -> None:
    assert list(Table.declared) == ["asked", "waiting", "seconds"]
    assert Table.declared["asked"].known == ("open", "closed")
    # They are no attributes of the class: those would slow the reading of an instance's.
    assert not {"asked", "waiting", "seconds"} & set(vars(Table))
    assert Table.other == "no family"
