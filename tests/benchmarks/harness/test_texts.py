"""The workloads."""

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.comparison.workloads import Dealer, of_length, zipf_draws
from deployments.tokenizer.replica import LoadedTokenizer
from registry.bundles.bundle import open_bundle

BUNDLED = Path(__file__).parents[3] / "models" / "sentiment"


def test_a_dealer_says_before_it_repeats() -> None:
    dealer = Dealer(["a", "b", "c"])
    assert dealer.deal(2) == ["a", "b"]
    assert not dealer.would_repeat(1)
    assert dealer.would_repeat(2)
    dealer.give_back(1)
    assert dealer.deal(3) == ["b", "c", "a"]


def test_zipf_repeats_the_first_texts_most() -> None:
    texts = [f"text {number}" for number in range(100)]
    draws = zipf_draws(texts, 20_000, seed=5)
    counts = Counter(draws)
    assert counts["text 0"] / counts["text 9"] == pytest.approx(10, rel=0.25)
    assert draws == zipf_draws(texts, 20_000, seed=5)


@pytest.mark.parametrize("length", [16, 128])
def test_made_texts_are_different_and_of_one_length(length: int) -> None:
    tokenizer = LoadedTokenizer(open_bundle(BUNDLED))
    real = [f"The {word} film was not unbelievably good, was it?" for word in "abcdefgh"]
    texts = of_length(real * 3, length, tokenizer, 50)
    assert len(set(texts)) == len(texts) == 50
    assert set(tokenizer.encode(texts).lengths) == {length}
