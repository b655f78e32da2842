"""Explanations: planted games with known answers, words of any text, the page, the routes."""

import asyncio
import base64
import hashlib
import math
import random
from collections.abc import Callable, Generator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from front import Stages
from hypothesis import given, settings
from hypothesis import strategies as st
from insight_front import drift_config, with_insight

from cli.explain import table
from configs.schema.app import AppConfig
from deployments.insight.explanations.faithfulness import check
from deployments.insight.explanations.methods import (
    Contributions,
    Kept,
    grouped,
    occlusion,
    shapley,
)
from deployments.insight.explanations.words import groups_of, without, words_of
from deployments.insight.replica import InsightReplica
from deployments.payloads import ModelAnswer, TextBatch
from deployments.telemetry.metrics import Metrics

EXPLAIN = "/monitoring/explain"
TEXT = st.text(st.characters(codec=None), max_size=200)
WEIGHTS = {"great": 2.0, "good": 1.0, "bad": -1.5, "awful": -2.5}


def played(
    steps: Generator[list[Kept], dict[Kept, float], Any], value: Callable[[Kept], float]
) -> tuple[Any, int]:
    """What a method returns for a game, and how many subsets it asked."""
    asked = 0
    try:
        wanted = next(steps)
        while True:
            asked += len(wanted)
            wanted = steps.send({kept: value(kept) for kept in wanted})
    except StopIteration as done:
        return done.value, asked


def additive(weights: list[float]) -> Callable[[Kept], float]:
    return lambda kept: 0.5 + sum(w for w, k in zip(weights, kept, strict=True) if k)


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=12))
def test_additive_games_are_exact_and_without_a_gap(weights: list[float]) -> None:
    n = len(weights)
    methods = (occlusion(n), shapley(n, 64, 1), grouped([range(n)], 4 * n + 10))
    for method in methods:
        found, _ = played(method, additive(weights))
        assert found.values == pytest.approx(tuple(weights), abs=1e-9)
        assert found.gap == pytest.approx(0, abs=1e-9)
    found, asked = played(occlusion(n), additive(weights))
    assert asked == 2 * n + 2
    assert found.without == pytest.approx(
        tuple(additive(weights)((True,) * n) - w for w in weights)
    )


def test_shapley_adds_up_and_shares_what_two_parts_do_together() -> None:
    def both(kept: Kept) -> float:
        return 2.0 if kept[0] and kept[1] else 0.0

    found, asked = played(shapley(3, 200, 4), both)
    assert asked <= 200
    assert found.values == pytest.approx((1.0, 1.0, 0.0))
    assert found.gap == pytest.approx(0)
    assert found.errors[2] == 0
    same, _ = played(shapley(3, 200, 4), both)
    assert same == found


def test_groups_spend_the_budget_on_the_strongest() -> None:
    weights = [0.0] * 40
    weights[17], weights[33] = 3.0, -0.5
    groups = [range(start, start + 8) for start in range(0, 40, 8)]
    found, asked = played(grouped(groups, 12 + 16), additive(weights))
    assert asked <= 28
    assert found.values[17] == pytest.approx(3.0)
    # The weaker group was not opened: its words share what it adds.
    assert found.values[32:40] == pytest.approx([-0.5 / 8] * 8)
    assert found.gap == pytest.approx(0)


def test_a_right_explanation_is_more_faithful_than_a_wrong_one() -> None:
    weights = [0.0, 3.0, 0.0, -1.0, 0.5, 0.0, 0.0, 2.0]

    def probability(kept: Kept) -> float:
        return 1 / (1 + math.exp(-additive(weights)(kept)))

    right, _ = played(check(weights, 1), probability)
    wrong, _ = played(check([-w for w in weights], 1), probability)
    assert right.deletion_auc < right.random_deletion_auc < wrong.deletion_auc
    assert right.comprehensiveness > wrong.comprehensiveness
    assert right.sufficiency < wrong.sufficiency


@given(TEXT)
def test_words_are_slices_ordered_and_disjoint(text: str) -> None:
    words = words_of(text)
    end = 0
    for word in words:
        assert text[end : word.start].strip() == ""
        assert word.start < word.end
        end = word.end
    assert text[end:].strip() == ""
    if words:
        everything = without(text, words, (True,) * len(words))
        assert everything == text[words[0].start : words[-1].end].strip()
        groups = groups_of(text, words, 5, 3)
        assert [i for group in groups for i in group] == list(range(len(words)))
        assert len(groups) <= 5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("I don't, really!", ["I", "don't,", "really!"]),
        ("👩‍👩‍👧 👍🏽 🇩🇪", ["👩‍👩‍👧", "👍🏽", "🇩🇪"]),
        ("服务非常好谢谢", ["服务非常", "好谢谢"]),
        ("iPhone很好用ok", ["iPhone", "很好用", "ok"]),
        ("  ", []),
        ("e\u0301a", ["e\u0301a"]),
    ],
)
def test_what_a_word_is(text: str, words: list[str]) -> None:
    assert [text[word.start : word.end] for word in words_of(text)] == words


def test_ten_thousand_characters_are_groups_of_few() -> None:
    text = "word. " * 1_600
    words = words_of(text)
    assert len(groups_of(text, words, 64, 8)) <= 64


class Weighing(Stages):
    """A model that adds the weights of the words; sees ``most`` of them."""

    most = 1_000
    backwards = False

    async def classify(self, batch: TextBatch) -> ModelAnswer:
        answer = await super().classify(batch)
        assert batch.bulk.all() or not self.all_bulk
        for row, text in enumerate(batch.texts):
            words = text.lower().split()
            answer.truncated[row] = len(words) > self.most
            seen = words[-self.most :] if self.backwards else words[: self.most]
            odds = 0.2 + sum(WEIGHTS.get(word.strip(".,!"), 0.0) for word in seen)
            positive = 1 / (1 + math.exp(-odds))
            answer.scores.scores[row] = np.asarray([1 - positive, positive], np.float32)
        return answer

    all_bulk = False


def explain_config(folder: Path, **more: Any) -> AppConfig:
    return drift_config(folder, {"enabled": False}, explanations={"enabled": True, **more})


async def explained(client: httpx.AsyncClient, text: str, **more: Any) -> dict[str, Any]:
    answer = await client.post(EXPLAIN, json={"text": text, **more})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_words_are_named_and_measured_and_nothing_is_counted(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, *_: object) -> None:
        stages.all_bulk = True
        text = "A great film, but an awful ending and good good music."
        found = await explained(client, text, check=True, prediction="neg", confidence=0.5)
        assert found["prediction"] == "POS"
        assert found["caller_agrees"] is False
        by_word = {word["text"]: word["contribution"] for word in found["words"]}
        assert by_word["great"] == pytest.approx(2.0, abs=1e-3)
        assert by_word["awful"] == pytest.approx(-2.5, abs=1e-3)
        assert by_word["film,"] == pytest.approx(0, abs=1e-3)
        assert found["additivity_gap"] == pytest.approx(0, abs=1e-2)
        assert [text[w["start"] : w["end"]] for w in found["words"]] == text.split()
        top = found["top_contributing_words"]
        assert {word["word"] for word in top[:2]} == {"great", "awful"}
        faithful = found["faithfulness"]
        assert faithful["deletion_auc"] < faithful["random_deletion_auc"]
        assert "“great”" in found["summary"]
        assert found["unavailable"].keys() == {"attention"}
        assert found["confidence_interpretation"] == "high confidence"
        assert found == await explained(client, text, check=True, prediction="neg", confidence=0.5)
        assert "great" in table(found)
        assert "random order" in table(found)
        shapley_found = await explained(client, text, method="shapley")
        assert shapley_found["words"][1]["standard_error"] is not None
        assert shapley_found["words"][1]["contribution"] == pytest.approx(2.0, abs=1e-3)
        page = (await client.get("/metrics")).text
        assert "sentiment_predictions_total{" not in page
        assert 'sentiment_cache_lookups_total{level="l1",result="miss"} 0.0' in page
        assert max(stages.sizes) <= 8

    stages = Weighing()
    with_insight(explain_config(tmp_path), body, stages)


@pytest.mark.parametrize("backwards", [False, True])
def test_words_beyond_the_model_s_length_are_listed_as_not_seen(
    tmp_path: Path, backwards: bool
) -> None:
    async def body(client: httpx.AsyncClient, *_: object) -> None:
        ends = ["great", *["so"] * 18, "bad"]
        found = await explained(client, " ".join(ends))
        seen = [word["text"] for word in found["words"] if word["seen"]]
        assert seen == (ends[-12:] if backwards else ends[:12])
        assert found["prediction"] == ("NEG" if backwards else "POS")
        assert "8 words were beyond" in found["summary"]

    stages = Weighing()
    stages.most, stages.backwards = 12, backwards
    with_insight(explain_config(tmp_path), body, stages)


def test_long_texts_stay_within_the_budget(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, *_: object) -> None:
        text = " ".join(["so"] * 150 + ["great"] + ["so"] * 149)
        found = await explained(client, text, max_evaluations=100)
        assert found["method"] == "grouped"
        assert found["evaluations"] <= 102
        assert found["top_contributing_words"][0]["word"] == "great"

    async def fewer(client: httpx.AsyncClient, *_: object) -> None:
        found = await explained(client, "so " * 40 + "great", max_evaluations=1_000)
        assert found["evaluations"] <= 42
        assert found["method"] == "grouped"

    with_insight(explain_config(tmp_path, max_evaluations=40), fewer, Weighing())
    with_insight(explain_config(tmp_path), body, Weighing())


def test_few_wait_and_the_rest_is_told_to_come_again(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, *_: object) -> None:
        asked = [client.post(EXPLAIN, json={"text": f"great {i}"}) for i in range(6)]
        statuses = sorted(answer.status_code for answer in await asyncio.gather(*asked))
        assert statuses == [200, 200, 200, 429, 429, 429]
        late = await client.post(
            EXPLAIN, json={"text": "good " * 200}, headers={"X-Deadline-Ms": "50"}
        )
        assert (late.status_code, late.json()["error_code"]) == (504, "E2003")

    async def slow(client: httpx.AsyncClient, *_: object) -> None:
        late = await client.post(EXPLAIN, json={"text": "good " * 200})
        assert late.status_code == 504

    with_insight(explain_config(tmp_path, max_waiting=2), body, Weighing(delay_s=0.02))
    with_insight(explain_config(tmp_path, deadline_ms=100), slow, Weighing(delay_s=0.05))


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


OURS = {"html", "head", "meta", "title", "style", "body", "h1", "p", "bdi", "sup", "code"}
NASTY = (
    "<script>alert(1)</script> <img src=x onerror=alert(1)> </style><b> &#60; \" ' "
    "great bad \u202e \u200b \x00"
)


def test_the_page_is_safe(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, *_: object) -> None:
        page = await client.post(f"{EXPLAIN}/html", json={"text": NASTY})
        assert page.status_code == 200
        elements = Elements()
        elements.feed(page.text)
        assert elements.tags <= OURS
        assert elements.attributes <= {"lang", "charset", "class"}
        assert "U+202E" in page.text
        assert "\u202e" not in page.text
        policy = page.headers["content-security-policy"]
        style = page.text.split("<style>")[1].split("</style>")[0]
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        assert f"sha256-{digest}" in policy
        assert "sandbox" in policy
        assert page.headers["cache-control"] == "no-store"
        assert "<sup>+</sup>" in page.text

    with_insight(explain_config(tmp_path), body, Weighing())


@settings(max_examples=50)
@given(TEXT)
def test_no_text_becomes_markup(text: str) -> None:
    from deployments.insight.explanations.page import shown  # noqa: PLC0415

    elements = Elements()
    elements.feed(shown(text))
    assert elements.tags <= {"code"}
    shown(text).encode()


def test_off_roles_and_refusals(tmp_path: Path) -> None:
    async def off(client: httpx.AsyncClient, *_: object) -> None:
        answer = await client.post(EXPLAIN, json={"text": "fine"})
        assert (answer.status_code, answer.json()["error_code"]) == (503, "E8001")

    async def body(client: httpx.AsyncClient, _: InsightReplica, __: Metrics) -> None:
        for wrong in ({"text": " "}, {"text": ""}, {"text": "x", "method": "lime"}, {}):
            assert (await client.post(EXPLAIN, json=wrong)).status_code == 422
        asked = {"text": "fine", "use_attention": False, "use_gradients": True}
        found = (await client.post(EXPLAIN, json=asked)).json()
        assert found["unavailable"].keys() == {"integrated_gradients"}

    async def other(client: httpx.AsyncClient, *_: object) -> None:
        found = (await client.post(EXPLAIN, json={"text": "fine"})).json()
        assert found["unavailable"].keys() == {"integrated_gradients"}

    with_insight(drift_config(tmp_path), off)
    with_insight(explain_config(tmp_path), body, Weighing())
    changed = explain_config(tmp_path, use_attention=False, use_gradients=True)
    with_insight(changed, other, Weighing())


def test_random_contributions_have_an_error(tmp_path: Path) -> None:
    chance = random.Random(3)
    noise: dict[Kept, float] = {}

    def noisy(kept: Kept) -> float:
        return noise.setdefault(kept, chance.gauss(sum(kept), 0.5))

    found, _ = played(shapley(6, 128, 2), noisy)
    assert isinstance(found, Contributions)
    assert all(error is not None and error > 0 for error in found.errors)
