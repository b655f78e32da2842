"""Open-loop load for chaos: each prediction at its time, over a connection of its own."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np

_LONGEST_S = 30.0
# The server's default deadline: an answer after it is none.
_DEADLINE_S = 10.0
_SAME = 1e-4


@dataclass(frozen=True, slots=True)
class Sent:
    """One request and what became of it.

    Attributes:
        text: It was asked about.
        due_s: When it was to be sent, from the fault on; negative before it.
        done_s: When it ended.
        outcome: The status, or the name of the error.
        scores: By label; empty without an answer.
    """

    text: str
    due_s: float
    done_s: float
    outcome: str
    scores: dict[str, float]

    @property
    def answered(self) -> bool:
        """Whether it was answered in time."""
        return self.outcome == "200" and self.done_s - self.due_s <= _DEADLINE_S


@dataclass(frozen=True, slots=True)
class Seen:
    """What clients saw of a fault.

    Attributes:
        requests: In all.
        failed: Without a prediction within the deadline.
        wrong: With another prediction than the model's, or 404.
        p99_ms: From the due time to the end, of all.
        silence_s: Longest time without a prediction, from before the fault on.
        recovered_s: After the fault, when the last request was due that failed or took over 2 s.
        outcomes: Status or error, and how often.
    """

    requests: int
    failed: int
    wrong: int
    p99_ms: float
    silence_s: float
    recovered_s: float
    outcomes: dict[str, int]


class OpenLoad:
    """Predictions of texts that were never sent before, at random times with a fixed seed."""

    def __init__(
        self,
        url: str,
        texts: Sequence[str],
        rate: float,
        first: int,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._tls = parts.scheme == "https"
        self._port = parts.port or (443 if self._tls else 80)
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        self._texts = texts
        self._rate = rate
        self._next = first
        self.sent: list[Sent] = []

    async def run(self, before_s: float, after_s: float) -> None:
        """Sends from ``before_s`` before the fault, which is now + that, to ``after_s`` after."""
        chance = random.Random(self._next)
        fault_at = time.monotonic() + before_s
        due = -before_s
        async with asyncio.TaskGroup() as tasks:
            while (due := due + chance.expovariate(self._rate)) < after_s:
                await asyncio.sleep(max(0.0, fault_at + due - time.monotonic()))
                tasks.create_task(self._send(due, fault_at))

    async def _send(self, due_s: float, fault_at: float) -> None:
        text = f"{self._texts[self._next % len(self._texts)]} {self._next}"
        self._next += 1
        scores: dict[str, float] = {}
        try:
            async with asyncio.timeout(_LONGEST_S):
                outcome, body = await self._post(text)
            if outcome == "200":
                scores = json.loads(body)["scores"]
        except (OSError, EOFError, ValueError) as error:
            outcome = type(error).__name__
        self.sent.append(Sent(text, due_s, time.monotonic() - fault_at, outcome, scores))

    async def _post(self, text: str) -> tuple[str, bytes]:
        tls = self._tls or None
        reader, writer = await asyncio.open_connection(self._host, self._port, ssl=tls)
        try:
            body = json.dumps({"text": text}).encode()
            head = (
                f"POST /api/v1/predict HTTP/1.1\r\nhost: {self._host}\r\nconnection: close\r\n"
                f"content-type: application/json\r\n{self._headers}"
                f"content-length: {len(body)}\r\n\r\n"
            )
            writer.write(head.encode() + body)
            answer = await reader.read()
        finally:
            writer.close()
        lines, found, body = answer.partition(b"\r\n\r\n")
        if not found:
            raise EOFError("closed without an answer")
        return lines.split(b" ", 2)[1].decode(), body


def seen(sent: Sequence[Sent], expected: dict[str, dict[str, float]]) -> Seen:
    """What the requests add up to.

    Args:
        sent: All requests of one run.
        expected: Text to the scores that the model alone gives.
    """
    failed = [one for one in sent if not one.answered]
    wrong = [one for one in sent if one.outcome == "404" or _differs(one, expected)]
    late = [one.due_s for one in sent if not one.answered or one.done_s - one.due_s > 2]
    ends = sorted(one.done_s for one in sent if one.outcome == "200" and one.done_s > 0)
    span = [0.0, *ends, max(0.0, *(one.done_s for one in sent))]
    return Seen(
        requests=len(sent),
        failed=len(failed),
        wrong=len(wrong),
        p99_ms=round(float(np.percentile([one.done_s - one.due_s for one in sent], 99)) * 1_000, 1),
        silence_s=round(float(np.diff(span).max()), 2),
        recovered_s=round(max(late, default=0.0), 2) if late and max(late) > 0 else 0.0,
        outcomes=dict(Counter(one.outcome for one in sent)),
    )


def _differs(one: Sent, expected: dict[str, dict[str, float]]) -> bool:
    wanted = expected[one.text] if one.scores else {}
    return any(abs(one.scores[label] - score) > _SAME for label, score in wanted.items())
