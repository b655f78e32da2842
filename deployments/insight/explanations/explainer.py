"""Asks the model the text without its words, as bulk of a bounded amount, one text at a time.

Nothing of it is counted, cached or logged as an answer: the texts go straight to the tokenizer
stage. One explanation costs as much as 30 to 300 predictions, so one is made at a time.
"""

import asyncio
import hashlib
import math
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import TypeVar

import numpy as np

from configs.schema.explanations import ExplanationsConfig
from deployments.errors import DeadlineExceeded, Overloaded, TextEmpty
from deployments.insight.errors import ExplanationFailed
from deployments.insight.explanations.faithfulness import Faithfulness, check
from deployments.insight.explanations.methods import (
    Contributions,
    Kept,
    grouped,
    occlusion,
    shapley,
)
from deployments.insight.explanations.report import Found, report
from deployments.insight.explanations.schemas import ExplainRequest, Explanation
from deployments.insight.explanations.words import Word, groups_of, without, words_of
from deployments.payloads import ModelAnswer, RunTexts, TextBatch
from deployments.versions import ServedVersion

# Few: an engine that runs them cannot run a caller's text at the same time.
_HOP_TEXTS = 8
_MOST_PARTS, _GROUP_WORDS = 64, 8
_SMALLEST = 1e-6
T = TypeVar("T")


class Explainer:
    """Explanations of one replica. For one event loop."""

    def __init__(
        self,
        config: ExplanationsConfig,
        run_texts: RunTexts,
        champion: Callable[[], ServedVersion],
    ) -> None:
        """Wires it.

        Args:
            config: Limits.
            run_texts: The tokenizer stage.
            champion: The version that is explained.
        """
        self._config = config
        self._run_texts = run_texts
        self._champion = champion
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def explain(self, request: ExplainRequest, deadline_ms: int | None) -> Explanation:
        """Explains a text.

        Raises:
            TextEmpty: It is nothing but white space.
            Overloaded: Too many wait.
            DeadlineExceeded: The deadline passed first.
            ExplanationFailed: The model has no answer for the text.
        """
        text = request.text.strip()
        if not text:
            raise TextEmpty("the text is empty")
        if self._waiting > self._config.max_waiting:
            context = {"retry_after_s": 2, "waiting": self._waiting - 1}
            raise Overloaded("too many explanations wait", context)
        given_ms = min(deadline_ms or self._config.deadline_ms, 60_000)
        deadline_s = time.monotonic() + given_ms / 1_000
        self._waiting += 1
        try:
            async with asyncio.timeout(given_ms / 1_000), self._turn:
                asking = _Asking(self._run_texts, self._champion(), text, deadline_s)
                return await self._explain(request, asking)
        except TimeoutError as error:
            raise DeadlineExceeded("the deadline passed before the text was explained") from error
        finally:
            self._waiting -= 1

    async def _explain(self, request: ExplainRequest, asking: "_Asking") -> Explanation:
        await asking.begin()
        most = min(request.max_evaluations or _MOST_EVALUATIONS, self._config.max_evaluations)
        key = f"{asking.text}\0{asking.model.digest}\0{request.method}\0{most}"
        seed = int.from_bytes(
            hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=6).digest(), "big"
        )
        words = asking.words
        method: str = request.method
        if request.method == "shapley" and len(words) <= _MOST_PARTS:
            values = shapley(len(words), most, seed)
        elif len(words) <= _MOST_PARTS and 2 * len(words) + 2 <= most:
            method, values = "occlusion", occlusion(len(words))
        else:
            groups = groups_of(asking.text, words, min(_MOST_PARTS, (most - 2) // 2), _GROUP_WORDS)
            method, values = "grouped", grouped(groups, most)
        found: Contributions = await _drive(values, asking.log_odds)
        faithful: Faithfulness | None = None
        if request.check:
            faithful = await _drive(check(found.values, seed), asking.probabilities)
        nothing = (False,) * len(words)
        empty = (await asking.probabilities([nothing]))[nothing]
        return report(
            request,
            self._config,
            Found(
                text=asking.text,
                model=asking.model,
                label=asking.label,
                score=asking.score,
                words=words,
                unseen=asking.unseen,
                contributions=found,
                method=method,
                empty_score=empty,
                evaluations=asking.evaluations,
                seed=seed,
                faithfulness=faithful,
            ),
        )


_MOST_EVALUATIONS = 1_024


class _Asking:
    """One text: what was asked of it so far.

    Attributes:
        words: Those that the model saw.
        unseen: The others.
        label: What the model answers.
        score: The label's probability.
        evaluations: Texts that the model was asked.
    """

    def __init__(
        self, run_texts: RunTexts, model: ServedVersion, text: str, deadline_s: float
    ) -> None:
        self.model = model
        self.text = text
        self.words = words_of(text)
        self.unseen: list[Word] = []
        self.label = ""
        self.score = 0.0
        self.evaluations = 0
        self._run_texts = run_texts
        self._deadline_s = deadline_s
        self._label = 0
        self._known: dict[str, float] = {}

    async def begin(self) -> None:
        """Asks the whole text; finds the words that the model saw."""
        answer = await self._ask([self.text])
        scores = answer.scores.scores[0]
        self._label = int(scores.argmax())
        self.label = self.model.labels[self._label]
        self.score = float(scores[self._label])
        if answer.truncated[0]:
            await self._cut()

    async def probabilities(self, subsets: Sequence[Kept]) -> dict[Kept, float]:
        """The label's probability for the words of each subset."""
        texts = {kept: without(self.text, self.words, kept) for kept in subsets}
        new = list(dict.fromkeys(t for t in texts.values() if t not in self._known))
        for start in range(0, len(new), _HOP_TEXTS):
            hop = new[start : start + _HOP_TEXTS]
            answer = await self._ask(hop)
            for text, scores in zip(hop, answer.scores.scores, strict=True):
                self._known[text] = float(scores[self._label])
        return {kept: self._known[text] for kept, text in texts.items()}

    async def log_odds(self, subsets: Sequence[Kept]) -> dict[Kept, float]:
        """The same as log-odds of the label against the rest."""
        found = await self.probabilities(subsets)
        return {kept: _log_odds(p) for kept, p in found.items()}

    async def _cut(self) -> None:
        """Leaves the words that the model saw: the first or, by the model's own side, the last."""
        words = self.words
        best, best_gap = words, math.inf
        for backwards in (False, True):
            low, high = 1, len(words)
            while low < high:
                middle = (low + high + 1) // 2
                part = words[-middle:] if backwards else words[:middle]
                answer = await self._ask([self.text[part[0].start : part[-1].end]])
                if answer.truncated[0]:
                    high = middle - 1
                else:
                    low = middle
            part = words[-low:] if backwards else words[:low]
            answer = await self._ask([self.text[part[0].start : part[-1].end]])
            gap = abs(float(answer.scores.scores[0][self._label]) - self.score)
            if gap < best_gap:
                best, best_gap = part, gap
        self.words = best
        self.unseen = [word for word in words if word not in set(best)]

    async def _ask(self, texts: list[str]) -> ModelAnswer:
        left_s = self._deadline_s - time.monotonic()
        n = len(texts)
        self.evaluations += n
        answer = await self._run_texts(
            TextBatch(
                digest=self.model.digest,
                texts=texts,
                remaining_s=np.full(n, left_s, np.float32),
                bulk=np.ones(n, np.bool_),
            )
        )
        if answer.scores.expired.any():
            raise DeadlineExceeded("the deadline passed before the text was explained")
        if answer.scores.failed.any():
            raise ExplanationFailed("the model has no answer for a part of this text")
        return answer


async def _drive(
    steps: Generator[list[Kept], dict[Kept, float], T],
    ask: Callable[[Sequence[Kept]], Awaitable[dict[Kept, float]]],
) -> T:
    """Answers what a method asks; what it returns."""
    try:
        wanted = next(steps)
        while True:
            wanted = steps.send(await ask(wanted))
    except StopIteration as done:
        result: T = done.value
        return result


def _log_odds(p: float) -> float:
    p = min(max(p, _SMALLEST), 1 - _SMALLEST)
    return math.log(p / (1 - p))
