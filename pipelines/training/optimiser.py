"""The training recipe in numbers, and the optimiser, schedule and weight averaging that follow from
it.

Used by `train`. Lower layers learn more slowly than upper ones (Howard & Ruder, "Universal Language
Model Fine-tuning", ACL 2018), and the word vectors stay as they are, so that words which the
training texts lack keep their place beside those that they have.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Literal

from torch import Tensor
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from pipelines.training.classifier import Classifier

_LAYER = re.compile(r"\.(?:layer|layers|h|block)\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides a training run besides data and base model.

    Attributes:
        epochs: Passes over the training split, and the length of the schedule.
        patience: Training ends after this many epochs in a row without a better one.
        batch_size: Texts per step.
        learning_rate: Peak rate of the top layer.
        head_factor: The head's rate in top-layer rates.
        layer_decay: Rate of a layer in rates of the layer above it.
        weight_decay: AdamW's decoupled decay, not applied to biases and norms.
        warmup_ratio: Share of steps with a rising rate; the rest follows half a cosine down to 2 %
            of the peak.
        averaging_decay: Decay per step of the exponential moving average of the weights.
        clip_norm: Largest gradient norm.
        max_tokens: Longest encoding.
        seed: Of every random choice.
        class_weights: ``balanced`` gives every label the same weight in the loss.
        tune_thresholds: Whether the limits between labels are moved after the last epoch.
    """

    epochs: int = 3
    patience: int = 1
    batch_size: int = 32
    learning_rate: float = 1e-4
    head_factor: float = 5.0
    layer_decay: float = 0.9
    weight_decay: float = 0.01
    warmup_ratio: float = 0.06
    averaging_decay: float = 0.998
    clip_norm: float = 1.0
    max_tokens: int = 256
    seed: int = 20140601
    class_weights: Literal["none", "balanced"] = "none"
    tune_thresholds: bool = False

    def digest(self) -> str:
        """Returns the sha256 of all values."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def optimiser_for(model: Classifier, recipe: Recipe) -> AdamW:
    """Freezes the word vectors and returns AdamW over all other weights, one rate per layer."""
    model.body.get_input_embeddings().requires_grad_(False)
    named = [(name, value) for name, value in model.named_parameters() if value.requires_grad]
    depth = max((_layer_of(name) for name, _ in named), default=0)
    groups = []
    for name, value in named:
        is_head = "head" in name.split(".")[0] or "classifier" in name
        factor = recipe.head_factor if is_head else recipe.layer_decay ** (depth - _layer_of(name))
        decay = 0.0 if value.ndim < 2 else recipe.weight_decay
        groups.append(
            {"params": [value], "lr": recipe.learning_rate * factor, "weight_decay": decay}
        )
    return AdamW(groups, betas=(0.9, 0.98), fused=True)


def _layer_of(name: str) -> int:
    # Embeddings count as the layer below the first.
    found = _LAYER.search(name)
    return int(found.group(1)) + 1 if found else 0


def schedule_for(optimiser: Optimizer, recipe: Recipe, steps: int) -> LambdaLR:
    """Returns a schedule over `steps` steps: linear rise, then half a cosine."""
    rise = max(1, round(recipe.warmup_ratio * steps))

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        done = min(1.0, (step - rise) / max(1, steps - rise))
        return 0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * done))

    return LambdaLR(optimiser, factor)


def averaging(decay: float) -> Callable[[Iterable[Tensor], Iterable[Tensor], Tensor | int], None]:
    """Returns the update of an exponential moving average whose memory grows with its age, so that
    early epochs are not held back.
    """

    def update(averaged: Iterable[Tensor], current: Iterable[Tensor], count: Tensor | int) -> None:
        age = float(count)
        weight = 1.0 - min(decay, (1.0 + age) / (10.0 + age))
        for kept, value in zip(averaged, current, strict=True):
            kept.lerp_(value, weight)

    return update
