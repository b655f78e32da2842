"""A text that the tokenizer cannot encode fails alone; the library's panics are such failures."""

import asyncio
from typing import Any

import numpy as np
import pytest

from deployments.payloads import EncodingBatch, ModelAnswer, TextBatch
from deployments.tokenizer.replica import LoadedTokenizer, TokenizerReplica
from registry.records import Bundle


class PanicException(BaseException):
    """By name what the tokenizers library raises when it panics."""


@pytest.mark.parametrize(
    "failure", [TypeError("no text"), ValueError(), PanicException("overflow")]
)
def test_the_text_gets_no_tokens_and_the_others_do(
    bundled: Bundle, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    tokenizer = LoadedTokenizer(bundled)
    plain = tokenizer.encode(["one", "three"])
    encode = tokenizer._tokenizer.encode

    class Failing:
        def encode(self, text: str) -> Any:
            if text == "two":
                raise failure
            return encode(text)

    monkeypatch.setattr(tokenizer, "_tokenizer", Failing())
    encoded = tokenizer.encode(["one", "two", "three"])
    assert encoded.lengths.tolist() == [plain.lengths[0], 0, plain.lengths[1]]
    assert encoded.ids.tolist() == plain.ids.tolist()
    assert not encoded.truncated.any()


def test_an_interruption_is_no_failure_of_a_text(
    bundled: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted:
        def encode(self, text: str) -> Any:
            raise KeyboardInterrupt

    tokenizer = LoadedTokenizer(bundled)
    monkeypatch.setattr(tokenizer, "_tokenizer", Interrupted())
    with pytest.raises(KeyboardInterrupt):
        tokenizer.encode(["one"])


def test_a_lone_surrogate_among_good_texts(one_bundle: Any, bundled: Bundle) -> None:
    asked: list[EncodingBatch] = []

    async def run_model(batch: EncodingBatch) -> Any:
        asked.append(batch)

    async def body() -> ModelAnswer:
        far, bulk = np.full(3, 60, dtype=np.float32), np.zeros(3, dtype=bool)
        texts = ["a", "x \ud83d", "b"]
        replica = TokenizerReplica(one_bundle, run_model)
        return await replica.classify(TextBatch(bundled.digest, texts, far, bulk))

    answer = asyncio.run(body())
    assert [n > 0 for n in answer.n_tokens.tolist()] == [True, False, True]
    assert asked[0].lengths.sum() == len(asked[0].ids)
