"""Contradictions between settings are refused with both names and both values."""

import re
from typing import Any

import pytest
from pydantic import ValidationError

from configs.schema.app import AppConfig


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (
            {"limits": {"max_queued_texts": 999}},
            ["limits.max_batch_texts=1000", "limits.max_queued_texts=999"],
        ),
        (
            {"limits": {"max_queued_texts": 9, "max_batch_texts": 9}},
            ["batching.max_hop_texts=64", "limits.max_queued_texts=9"],
        ),
        (
            {"limits": {"max_body_bytes": 2_000}},
            ["limits.max_text_chars=10000", "limits.max_body_bytes=2000"],
        ),
        (
            {"limits": {"default_deadline_ms": 50}, "cache": {"l2": "memory"}},
            ["cache.l2_timeout_ms=50", "limits.default_deadline_ms=50"],
        ),
        (
            {"limits": {"default_deadline_ms": 60_001}},
            ["limits.default_deadline_ms=60001", "limits.max_deadline_ms=60000"],
        ),
        ({"model": {"provider": "cuda"}}, ["model.provider=cuda", "replicas.model.num_gpus"]),
        (
            {"model": {"provider": "cpu"}, "replicas": {"model": {"num_gpus": 0.5}}},
            ["model.provider=cpu", "replicas.model.num_gpus=0.5"],
        ),
        ({"replicas": {"model": {"num_gpus": 1.5}}}, ["num_gpus=1.5"]),
        (
            {"replicas": {"model": {"num_gpus": 2, "num_replicas": 1}}},
            ["replicas.model.num_gpus=2", "one card"],
        ),
        (
            {"replicas": {"model": {"num_gpus": 1, "num_replicas": 0}}},
            ["replicas.model.num_gpus=1", "replicas.model.num_replicas=0"],
        ),
        ({"replicas": {"cache": {"num_replicas": 2}}}, ["replicas.cache.num_replicas=2"]),
        ({"replicas": {"registry": {"num_replicas": 2}}}, ["replicas.registry.num_replicas=2"]),
    ],
)
def test_contradictions_are_refused(values: dict[str, object], named: list[str]) -> None:
    with pytest.raises(ValidationError) as caught:
        AppConfig.model_validate(values)
    for words in named:
        assert re.search(re.escape(words), str(caught.value))


def test_a_cache_that_is_off_has_no_timeout_to_contradict() -> None:
    AppConfig.model_validate({"limits": {"default_deadline_ms": 50}, "cache": {"l2": "none"}})


@pytest.mark.parametrize("uri", ["mlruns", "file:///tmp/mlruns", "sqlite", "redis://x"])
def test_only_stores_that_keep_a_registry_are_accepted(uri: str) -> None:
    with pytest.raises(ValidationError):
        AppConfig.model_validate({"registry": {"tracking_uri": uri}})


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValidationError):
        AppConfig().limits.max_text_chars = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("given", "level_two"),
    [
        ({}, "memory"),
        ({"replicas": {"ingress": {"num_replicas": 1}}}, "none"),
        ({"topology": "fused"}, "memory"),
        ({"topology": "fused", "replicas": {"model": {"num_replicas": 1}}}, "none"),
        ({"replicas": {"ingress": {"num_replicas": 1, "max_replicas": 3}}}, "memory"),
        ({"replicas": {"ingress": {"num_replicas": 1}}, "stream": {"enabled": True}}, "memory"),
        ({"cache": {"l2": "memory"}}, "memory"),
        ({"cache": {"l2": "none"}, "replicas": {"ingress": {"num_replicas": 2}}}, "none"),
        ({"cache": {"l2": "redis"}}, "redis"),
    ],
)
def test_a_level_that_nobody_shares_is_left_out(given: dict[str, Any], level_two: str) -> None:
    assert AppConfig.model_validate(given).level_two == level_two
