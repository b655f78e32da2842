"""Small real models and tables: random weights, but every step treats them as it treats MiniLM."""

import json
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from pipelines.training.tiny_encoder import write_tiny_base

GOOD = ("lovely", "great", "excellent", "happy", "delicious", "friendly", "perfect", "brilliant")
BAD = ("awful", "broken", "terrible", "sad", "stale", "rude", "useless", "filthy")
THINGS = (
    "phone",
    "hotel",
    "film",
    "dinner",
    "driver",
    "lamp",
    "garden",
    "ticket",
    "coat",
    "bridge",
)
PLACES = ("in Rome", "at home", "last night", "for my sister", "on the train", "by the sea")


def sentences() -> list[tuple[str, str]]:
    """Returns 960 different (text, label) pairs whose label hangs on one word."""
    rows = []
    for label, words in (("positive", GOOD), ("negative", BAD)):
        for word in words:
            for number, thing in enumerate(THINGS):
                for place in PLACES:
                    rows.append((f"{place} {number} the {thing} {thing[::-1]} was {word}", label))
    return rows


@pytest.fixture(scope="session")
def sentence_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JSON Lines file of (text, label)."""
    path = tmp_path_factory.mktemp("input") / "sentences.jsonl"
    lines = [json.dumps({"text": text, "label": label}) for text, label in sentences()]
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face folder of a bare encoder."""
    return write_tiny_base(tmp_path_factory.mktemp("tiny"), [text for text, _ in sentences()])


@pytest.fixture(scope="session")
def tiny_classifier(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face folder of a three-class classifier with labels of its own."""
    folder = tmp_path_factory.mktemp("three")
    labels = {0: "bug", 1: "praise", 2: "question"}
    tokens = PreTrainedTokenizerFast.from_pretrained(tiny_base)
    tokens.save_pretrained(folder)
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=len(tokens),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.3,
        id2label=labels,
        label2id={label: index for index, label in labels.items()},
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder
