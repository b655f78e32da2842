"""Explanations of the bundled model: deleting the words that they name beats random deletion."""

import asyncio
from typing import Any

import numpy as np
import pytest

from configs.schema.app import BatchingConfig, ModelConfig
from configs.schema.explanations import ExplanationsConfig
from deployments.insight.explanations.explainer import Explainer
from deployments.insight.explanations.schemas import ExplainRequest
from deployments.model.replica import ModelReplica
from deployments.tokenizer.replica import TokenizerReplica, token_ids
from deployments.versions import ServedVersion
from registry.records import Bundle

# Written for this test; the model was trained on none of them.
OPENINGS = (
    ("The waiter", "brought the soup", "and it was", "wonderful", "awful"),
    ("My sister", "watched the second episode", "which she found", "brilliant", "boring"),
    ("This laptop", "arrived on Monday", "and so far it is", "excellent", "terrible"),
    ("Our guide", "talked about the castle", "in a way that was", "delightful", "annoying"),
    ("The new update", "changed the menu", "and the result is", "great", "horrible"),
)
CLOSINGS = (
    "as everybody at the table agreed.",
    "although I had expected something else.",
    "which is why I write this on a Sunday.",
    "and that after all the things we had read before.",
    "so I told my neighbours about it.",
)
TEXTS = [
    f"{who} {did} {link} {word} {closing}"
    for who, did, link, *words in OPENINGS
    for word in words
    for closing in CLOSINGS
]


@pytest.mark.slow
def test_deletion_beats_random_deletion_on_fifty_texts(one_bundle: Any, bundled: Bundle) -> None:
    async def run() -> list[tuple[float, float]]:
        model = ModelReplica(
            one_bundle,
            ModelConfig(warmup_runs=1, surface_budget_ms=0),
            BatchingConfig(),
            threads=1,
            gpu_share=0,
            encode=token_ids,
        )
        tokenizer = TokenizerReplica(one_bundle, model.run)
        version = ServedVersion(
            "sentiment",
            1,
            bundled.digest,
            bundled.labels,
            "onnx",
            "int8",
            bundled.max_tokens,
            "registry",
        )
        await model.load(bundled.digest)
        await tokenizer.load(bundled.digest)
        explainer = Explainer(ExplanationsConfig(), tokenizer.classify, lambda: version)
        found = []
        for text in TEXTS:
            explanation = await explainer.explain(ExplainRequest(text=text, check=True), 60_000)
            assert explanation.faithfulness is not None
            faithful = explanation.faithfulness
            found.append((faithful.deletion_auc, faithful.random_deletion_auc))
        return found

    curves = np.asarray(asyncio.run(run()))
    gain = float((curves[:, 1] - curves[:, 0]).mean())
    print(f"deletion AUC {curves[:, 0].mean():.3f}, random {curves[:, 1].mean():.3f}, {gain:.3f}")
    assert gain >= 0.15
