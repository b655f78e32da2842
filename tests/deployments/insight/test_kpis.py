"""KPIs: planted figures against numbers computed by hand; the store; the routes."""

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from front import Stages, with_front
from insight_front import drift_config, with_insight
from sqlalchemy import insert

from configs.schema.app import AppConfig
from deployments.clients.database import open_database
from deployments.insight.errors import NotWatched
from deployments.insight.kpis.desk import KpiDesk
from deployments.insight.kpis.kpis import deviation, percentile
from deployments.insight.kpis.slo import TIMES, Goal, availability, objective, served, within
from deployments.insight.kpis.store import KpiStore, rows
from deployments.insight.replica import InsightReplica
from deployments.insight.tables import metadata
from deployments.telemetry.figures import Figures, added, figures_of
from deployments.telemetry.metrics import Metrics

KPIS = "/monitoring/kpis"
DAY_S = 86_400.0


def latency(counts: dict[float, int]) -> Figures:
    """A histogram of seconds with so many in the bin that ends there."""
    found: Figures = {}
    total = 0
    for bound, n in counts.items():
        total += n
        found[f"latency|{bound}"] = total
    seconds = sum(bound * n for bound, n in counts.items())
    return found | {"latency|+Inf": total, "latency_count": total, "latency_sum": seconds}


class Desk(KpiDesk):
    def __init__(self, folder: Path, **settings: Any) -> None:
        self.now_s = time.time()
        uri = f"sqlite:///{folder}/insight.db"
        self.store = KpiStore(open_database(uri, metadata))
        self.number = 0
        config = AppConfig.model_validate({"kpis": {"enabled": True, **settings}})
        super().__init__(config, self.store, lambda: self.now_s)

    def came(self, figures: Figures, source: str = "a", ago_s: float = 0, name: str = "m") -> None:
        self.number += 1
        self.store.add(source, self.number, name, figures, self.now_s - ago_s)


def test_percentiles_are_of_the_sum_and_not_means_of_percentiles(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.came(latency({0.1: 90, 1.0: 10}), "a")
    desk.came(latency({0.1: 900, 1.0: 0}), "b")
    found = desk.performance("m", "onnx")
    assert found.latency_p95_ms == pytest.approx(100 * 950 / 990)
    assert found.latency_avg_ms == pytest.approx(100 * 0.99 + 1_000 * 0.01)
    assert found.latency_by_backend["onnx"].count == 1_000
    assert found.replicas_heard == 2
    assert found.complete
    assert percentile({}, "latency", 0.5) is None
    assert deviation({"score|0.5": 1, "score|1.0": 2, "score_count": 2}, "score") == 0.25


def test_what_was_answered_how_surely_and_at_what_cost(tmp_path: Path) -> None:
    desk = Desk(tmp_path, cost_per_1k=2)
    scores = {"score|0.5": 0, "score|0.6": 20, "score|0.8": 50, "score|0.95": 80, "score|1.0": 100}
    desk.came(
        scores
        | {"score_count": 100, "score_sum": 80}
        | {"texts|POSITIVE|false": 50, "texts|POSITIVE|true": 20, "texts|NEGATIVE|false": 30}
    )
    business = desk.business("m")
    assert business.total_predictions == 100
    assert (business.positive_ratio, business.negative_ratio) == (0.7, 0.3)
    assert (business.avg_confidence, business.high_quality_ratio) == (0.8, 0.5)
    assert business.predictions_by_label == {"POSITIVE": 70, "NEGATIVE": 30}
    assert business.predictions_by_confidence == {
        "0.95-1": 20,
        "0.8-0.95": 30,
        "0.6-0.8": 30,
        "0-0.6": 20,
    }
    quality = desk.quality("m", live_accuracy=None, drift_levels={})
    assert (quality.low_confidence_count, quality.low_confidence_rate) == (20, 0.2)
    assert quality.confidence_p50 == pytest.approx(0.8)
    cost = desk.cost("m")
    assert cost.total_cost_usd == pytest.approx(0.16)
    assert cost.cost_per_prediction_usd == pytest.approx(0.0016)
    assert (cost.cached_predictions, cost.cache_savings_percent) == (20, 20)
    assert sum(cost.cost_by_day.values()) == pytest.approx(0.16)
    assert cost.basis == "flat"
    bare = Desk(tmp_path, detailed=False).business("m")
    assert (bare.predictions_by_label, bare.predictions_by_confidence) == ({}, {})


def test_replicas_cost_whether_busy_or_not(tmp_path: Path) -> None:
    desk = Desk(tmp_path, cpu_hour=2)
    desk.came({"texts|POS|false": 10}, ago_s=3_600)
    cost = desk.cost("m")
    assert cost.basis == "replicas"
    # Ingress, tokenizer, model, registry, insight at their default sizes.
    assert cost.total_cost_usd > 0
    assert cost.monthly_estimate_usd == pytest.approx(cost.total_cost_usd * 30 * 24, rel=0.01)


def test_each_model_has_its_own_figures(tmp_path: Path) -> None:
    desk = Desk(tmp_path, cost_per_1k=1_000, history_hours=1)
    of_one = {"texts|POS|false": 10.0, "answers|good": 10.0, "score_count": 10, "score_sum": 9}
    of_other = {"texts|joy|false": 4.0, "answers|good": 4.0, "score_count": 4, "score_sum": 2}
    desk.came(of_one | latency({1.0: 10}), ago_s=2_000, name="m")
    desk.came(of_other | latency({0.1: 4}), ago_s=100, name="other")

    def check() -> None:
        assert desk.business("other").predictions_by_label == {"joy": 4}
        assert desk.business("m").predictions_by_label == {"POS": 10}
        assert desk.business("other").avg_confidence == 0.5
        assert desk.cost("other").total_cost_usd == 4
        assert sum(desk.cost("other").cost_by_day.values()) == pytest.approx(4)
        assert desk.performance("other", "onnx").latency_avg_ms == pytest.approx(100)
        assert desk.performance("m", "").latency_by_backend == {}
        # The service has one budget, whichever models it served.
        assert desk.slo(99, 100, 250).objectives[0].valid == 14

    check()
    assert desk.cost("other").window_s == pytest.approx(100)
    desk.upkeep()
    check()
    desk.check_name("m")
    with pytest.raises(NotWatched, match="no model 'third'"):
        desk.check_name("third")


def test_figures_of_release_0_1_belong_to_no_model(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    old = {"texts|POS|false": 10.0, "answers|good": 10.0}
    with desk.store._engine.begin() as connection:
        at_s = desk.now_s - 1_000
        new = {"source": "a", "number": 1, "at_s": at_s, "figures": orjson.dumps(old)}
        connection.execute(insert(rows).values(**new))
    for _ in range(2):
        assert desk.business("m").total_predictions == 0
        assert desk.slo(99, 100, 250).objectives[0].valid == 10
        desk.upkeep()


def test_nothing_answered_is_unknown_and_not_perfect(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    slo = desk.slo(99.9, 100, 250)
    assert (slo.compliant, slo.availability.current) == (None, None)
    assert slo.objectives[0].burn == dict.fromkeys(TIMES)
    assert desk.business("m").positive_ratio is None
    assert not desk.is_fresh()
    desk.came({})
    assert desk.is_fresh()


def test_a_silent_replica_makes_it_incomplete(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.came({}, "a")
    desk.came({}, "b", ago_s=120)
    found = desk.business("m")
    assert (found.replicas_heard, found.complete) == (1, False)


def test_burn_rates_budgets_and_alerts() -> None:
    goal = Goal("availability", 0.999, availability)
    calm: Figures = {"answers|good": 10_000}
    storm: Figures = {"answers|good": 9_800, "answers|5xx": 200}
    fast = dict.fromkeys(TIMES, calm) | {"5m": storm, "30m": storm, "1h": storm}
    found = objective(goal, storm, storm, fast)
    assert found.burn["1h"] == pytest.approx(20)
    assert found.alerts == ["page 1h 5m"]
    assert found.sli == pytest.approx(0.98)
    assert found.budget.allowed == pytest.approx(10)
    assert found.budget.left_share == pytest.approx(-19)
    few: Figures = {"answers|good": 10, "answers|5xx": 3}
    assert objective(goal, few, few, dict.fromkeys(TIMES, few)).alerts[0] == "insufficient 1h 5m"
    steady: Figures = {"answers|good": 99_800, "answers|5xx": 200}
    assert objective(goal, steady, steady, dict.fromkeys(TIMES, steady)).alerts == ["ticket 3d 6h"]
    assert objective(goal, calm, calm, dict.fromkeys(TIMES, calm)).alerts == []


def test_refused_requests_are_bad_where_it_counts_that_they_were_served() -> None:
    figures: Figures = {"answers|good": 90, "answers|429": 10}
    assert availability(figures) == (100, 100)
    assert served(figures) == (90, 100)
    assert within(250)(latency({0.1: 50, 0.25: 40, 1.0: 10})) == (90, 100)
    assert within(5_000)(latency({0.1: 50})) == (0, 50)


def test_rows_are_summed_once_by_minute_and_by_hour(tmp_path: Path) -> None:
    desk = Desk(tmp_path, history_hours=1)
    old = {"answers|good": 5.0}
    for number in (1, 2, 1):
        desk.store.add("a", number, "m", old, desk.now_s - 1_000)
    desk.upkeep()
    desk.store.add("a", 1, "m", old, desk.now_s - 1_000)
    desk.upkeep()
    (window,) = desk.store.window(desk.now_s, 3_600)
    assert window.figures == {"answers|good": 10.0}
    desk.now_s += 2 * 3_600
    desk.upkeep()
    (day,) = desk.store.window(desk.now_s, DAY_S)
    assert day.figures == {"answers|good": 10.0}
    desk.now_s += 36 * DAY_S
    desk.upkeep()
    (gone,) = desk.store.window(desk.now_s, 80 * DAY_S)
    assert gone.figures == {}


def test_totals_of_a_replica_become_what_they_grew_by() -> None:
    metrics = Metrics()
    metrics.count_request("/api/v1/predict", "POST", 200, 0.02)
    metrics.count_request("/api/v1/predict", "POST", 503, 0.02)
    metrics.count_request("/api/v1/predict", "POST", 422, 0.02)
    metrics.count_request("/api/v1/models", "GET", 500, 0.02)
    metrics.predictions.labels("POS", "false").inc()
    before = figures_of(metrics)
    assert (before["answers|good"], before["answers|5xx"]) == (1, 1)
    assert before["latency_count"] == 3
    assert before["texts|POS|false"] == 1
    metrics.count_request("/v2/models/{name}/infer", "POST", 429, 0.02)
    grown = added(figures_of(metrics), before)
    assert grown["answers|429"] == 1
    assert "answers|good" not in grown


def kpi_config(folder: Path, **settings: Any) -> AppConfig:
    return drift_config(folder, {"enabled": False}, kpis={"enabled": True, **settings})


def test_answers_become_kpis(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, _: InsightReplica, __: Metrics) -> None:
        for text in ("one", "two", "two"):
            assert (await client.post("/predict", json={"text": text})).status_code == 200
        business: dict[str, Any] = {}
        async with asyncio.timeout(120):
            while business.get("total_predictions") != 3:
                await asyncio.sleep(0.05)
                business = (await client.get(f"{KPIS}/business")).json()
        assert business["predictions_by_label"] == {"POS": 3}
        assert (business["positive_ratio"], business["negative_ratio"]) == (1.0, None)
        assert (business["model_name"], business["replicas_heard"]) == ("m", 1)
        for name in ("business", "quality", "cost", "performance"):
            answer = await client.get(f"{KPIS}/{name}", params={"model": "third"})
            assert (answer.status_code, answer.json()["error_code"]) == (404, "E8003")
            answer = await client.get(f"{KPIS}/{name}", params={"model": "m"})
            assert answer.status_code == 200
        cost = (await client.get(f"{KPIS}/cost")).json()
        assert cost["cached_predictions"] == 1
        performance = (await client.get(f"{KPIS}/performance")).json()
        assert performance["latency_by_backend"]["onnx"]["count"] == 3
        assert 0 < performance["throughput_rps"] <= 3 / 60
        quality = (await client.get(f"{KPIS}/quality")).json()
        assert (quality["live_accuracy"], quality["drift_levels"]) == (None, {})
        asked = {"availability_target": 50, "latency_p95_target_ms": 60_000}
        slo = (await client.get(f"{KPIS}/slo", params=asked)).json()
        assert slo["availability"] == {"current": 100.0, "target": 50.0, "ok": True}
        tight = (await client.get(f"{KPIS}/slo", params={"latency_p95_target_ms": 0.01})).json()
        assert not tight["latency_p95"]["ok"]
        assert (await client.get(f"{KPIS}/slo", params={"availability_target": 100})).status_code
        health = (await client.get("/monitoring/health")).json()
        assert health["advanced_metrics"] == {"enabled": True, "healthy": True}
        assert health["drift_detection"] == {"enabled": False, "healthy": False}
        assert health["model_registry"] == {"enabled": True, "healthy": True}

    with_insight(kpi_config(tmp_path), body)


def test_off_says_so(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, *_: object) -> None:
        for name in ("business", "quality", "cost", "performance", "slo"):
            answer = await client.get(f"{KPIS}/{name}")
            assert (answer.status_code, answer.json()["error_code"]) == (503, "E8001")

    async def alone(client: httpx.AsyncClient) -> None:
        health = (await client.get("/api/v1/monitoring/health")).json()
        assert not health["explainability"]["enabled"]

    with_insight(drift_config(tmp_path), body)
    with_front(AppConfig.model_validate({"cache": {"l2": "none"}}), alone, stages=Stages())
