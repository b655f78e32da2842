"""The workloads: what the texts of a run are, and in which order they are sent.

``real`` are the ICWSM-14 texts, each once, so no cache helps. ``tokens16`` and ``tokens128`` are
made of the same words, all of one length. ``zipf`` draws real texts with repeats, as users do; rows
of it say how many answers a cache gave.
"""

from collections.abc import Sequence

import numpy as np

from deployments.tokenizer.replica import LoadedTokenizer

REAL, TOKENS_16, TOKENS_128, ZIPF = "real", "tokens16", "tokens128", "zipf"
WORKLOADS = (REAL, TOKENS_16, TOKENS_128, ZIPF)
LENGTHS = {TOKENS_16: 16, TOKENS_128: 128}
SEED = 7
ZIPF_TEXTS = 5_000
ZIPF_EXPONENT = 1.0
_MADE_TEXTS = {TOKENS_16: 30_000, TOKENS_128: 6_000}
_DRAWS = 60_000
_MOST_SHUFFLES = 10_000


class Dealer:
    """Deals the texts of a workload in order, from the start again when all were dealt."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts
        self._next = 0

    def would_repeat(self, count: int) -> bool:
        """Whether ``count`` more would send a text a second time."""
        return self._next + count > len(self._texts)

    def deal(self, count: int) -> list[str]:
        """The next ``count`` texts."""
        size = len(self._texts)
        dealt = [self._texts[(self._next + offset) % size] for offset in range(count)]
        self._next += count
        return dealt

    def give_back(self, count: int) -> None:
        """Returns the last ``count`` texts, which were not sent."""
        self._next -= count


def workload(name: str, real: Sequence[str], tokenizer: LoadedTokenizer) -> list[str]:
    """The texts of a workload in the order of sending."""
    if name == ZIPF:
        return zipf_draws(real[:ZIPF_TEXTS], _DRAWS, SEED)
    if name in LENGTHS:
        return of_length(real, LENGTHS[name], tokenizer, _MADE_TEXTS[name])
    return list(real)


def zipf_draws(texts: Sequence[str], draws: int, seed: int) -> list[str]:
    """Draws with repeats: the k-th text as often as 1 / k ** ``ZIPF_EXPONENT``."""
    weights = 1.0 / np.arange(1, len(texts) + 1) ** ZIPF_EXPONENT
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(texts), size=draws, p=weights / weights.sum())
    return [texts[index] for index in chosen]


def of_length(
    real: Sequence[str], length: int, tokenizer: LoadedTokenizer, count: int
) -> list[str]:
    """Up to ``count`` different texts of exactly ``length`` tokens, made of the words of real ones.

    Words are taken in their order and shuffled again when all were used; one that no longer
    fits is skipped.
    """
    words = list({word: None for text in real for word in text.split()})
    # Two tokens of an encoding are its ends.
    sizes = (tokenizer.encode(words).lengths - 2).tolist()
    sized = [pair for pair in zip(words, sizes, strict=True) if 0 < pair[1] <= length - 2]
    rng = np.random.default_rng(SEED)
    made: dict[str, None] = {}
    chosen: list[str] = []
    left = length - 2
    for _ in range(_MOST_SHUFFLES):
        if len(made) == count:
            break
        for index in rng.permutation(len(sized)):
            word, size = sized[index]
            if size <= left:
                chosen.append(word)
                left -= size
            if left == 0:
                made[" ".join(chosen)] = None
                chosen, left = [], length - 2
                if len(made) == count:
                    break
    texts = list(made)
    lengths = tokenizer.encode(texts).lengths
    return [text for text, found in zip(texts, lengths, strict=True) if found == length]
