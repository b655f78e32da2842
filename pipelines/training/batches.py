"""Turns rows into padded training batches of nearly equal length, lightly changed from epoch to
epoch.

Used by `train` and by validation. Padding is the cost on a CPU, so texts of similar length share a
batch; shuffling within windows keeps the order random. Everything random comes from the generator
that is handed in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from pipelines.data.table import Row

WINDOW_BATCHES = 50
# A mark after a word is dropped, an emoticon stands alone and stays.
_CLOSING_MARKS = re.compile(r"(?<=\w)[.,;:!?]+(?=\s|$)")


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's input.

    Attributes:
        input_ids: [batch, length] int64, padded with the model's pad id.
        attention_mask: [batch, length] int64.
        target: [batch, labels] float32, each row a distribution over the labels.
        weight: [batch] float32.
        index: Position of each row in the sequence that was given.
    """

    input_ids: Tensor
    attention_mask: Tensor
    target: Tensor
    weight: Tensor
    index: list[int]


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How much a text is changed on the way into a batch.

    Attributes:
        mask_id: Token that stands in for a masked one; None switches masking off.
        mask_ratio: Share of tokens masked, in half of the texts.
        unpunctuated_ratio: Share of texts that lose the marks after their words.
    """

    mask_id: int | None
    mask_ratio: float = 0.06
    unpunctuated_ratio: float = 0.2


@dataclass(frozen=True, slots=True)
class BatchSampler:
    """Makes batches for one model: its tokenizer, limits and class order."""

    tokenizer: Tokenizer
    labels: tuple[str, ...]
    max_tokens: int
    pad_id: int
    batch_size: int

    def plain(self, rows: Sequence[Row]) -> list[Batch]:
        """Returns all rows once, shortest first, unchanged and with weight one."""
        encoded = self._encode([row.text for row in rows])
        order = sorted(range(len(rows)), key=lambda at: len(encoded[at]))
        chosen = [order[at : at + self.batch_size] for at in range(0, len(order), self.batch_size)]
        return [self._batch(rows, encoded, index, np.ones(len(rows))) for index in chosen]

    def shuffled(
        self,
        rows: Sequence[Row],
        weights: np.ndarray,
        change: Augmentation,
        random: np.random.Generator,
    ) -> Iterator[Batch]:
        """Yields all rows once in random order, texts of similar length together.

        Args:
            rows: Each with a label or a target.
            weights: [rows] weight of each row's loss.
            change: Applied afresh at every call.
            random: Source of order and change.
        """
        bare = random.random(len(rows)) < change.unpunctuated_ratio
        texts = [
            _CLOSING_MARKS.sub("", row.text) if drop else row.text
            for row, drop in zip(rows, bare, strict=True)
        ]
        encoded = [self._mask(ids, change, random) for ids in self._encode(texts)]
        order = random.permutation(len(rows))
        window = WINDOW_BATCHES * self.batch_size
        chosen: list[list[int]] = []
        for start in range(0, len(order), window):
            near = sorted(order[start : start + window].tolist(), key=lambda at: len(encoded[at]))
            chosen += [
                near[at : at + self.batch_size] for at in range(0, len(near), self.batch_size)
            ]
        for position in random.permutation(len(chosen)):
            yield self._batch(rows, encoded, chosen[position], weights)

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        # Truncation keeps the special tokens at both ends, as serving does.
        self.tokenizer.enable_truncation(self.max_tokens)
        encodings = self.tokenizer.encode_batch(list(texts))
        self.tokenizer.no_truncation()
        return [encoding.ids for encoding in encodings]

    def _mask(self, ids: list[int], change: Augmentation, random: np.random.Generator) -> list[int]:
        # Short texts can lose their only telling word, so they are left whole.
        if change.mask_id is None or len(ids) < 8 or random.random() < 0.5:
            return ids
        hit = random.random(len(ids)) < change.mask_ratio
        hit[[0, -1]] = False
        return [change.mask_id if masked else token for token, masked in zip(ids, hit, strict=True)]

    def _batch(
        self,
        rows: Sequence[Row],
        encoded: Sequence[list[int]],
        index: list[int],
        weights: np.ndarray,
    ) -> Batch:
        length = max(len(encoded[at]) for at in index)
        input_ids = torch.full((len(index), length), self.pad_id, dtype=torch.int64)
        attention_mask = torch.zeros((len(index), length), dtype=torch.int64)
        for line, at in enumerate(index):
            input_ids[line, : len(encoded[at])] = torch.tensor(encoded[at])
            attention_mask[line, : len(encoded[at])] = 1
        target = torch.tensor([self._target(rows[at]) for at in index], dtype=torch.float32)
        weight = torch.tensor([float(weights[at]) for at in index], dtype=torch.float32)
        return Batch(input_ids, attention_mask, target, weight, index)

    def _target(self, row: Row) -> list[float]:
        if row.target is not None:
            return [1.0 - row.target, row.target]
        return [1.0 if row.label == label else 0.0 for label in self.labels]
