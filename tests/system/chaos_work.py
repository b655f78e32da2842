"""Work that is under way while something fails: an alias moves, a job and messages are worked off.

``Work`` begins it, and says at the end what became of each: a job's and the topic's results are all
there, each once and each with the model's label, and the alias is at last where it was moved to.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from benchmarks.harness.kafka import Collector, produce
from benchmarks.harness.models import ACTOR, NAME
from benchmarks.harness.stack import registry_of
from benchmarks.harness.stream_messages import Sent, is_right, messages
from operations.local_stack.stack import Stack
from registry.errors import RegistryError

_JOB_TEXTS, _MESSAGES = 400, 200
_ENDS_S, _ASK_S = 180.0, 0.3


@dataclass
class Work:
    """A job, messages and an alias move of one experiment.

    Attributes:
        stack: With jobs, a stream and two versions of the model.
        kafka: Address of the broker, past any proxy.
        name: Of the experiment; nothing of two experiments is mixed up.
        version: The alias is moved there.
    """

    stack: Stack
    kafka: str
    name: str
    version: int
    _job: str = ""
    _sent: list[Sent] = field(default_factory=list)

    def begin(self) -> None:
        """Submits the job and sends the messages, before the fault."""
        texts = [f"{self.name}, a wonderful text {i}" for i in range(_JOB_TEXTS)]
        answer = httpx.post(
            f"{self.stack.url}/api/v1/batch/predict", json={"texts": texts}, timeout=30
        )
        self._job = answer.raise_for_status().json()["job_id"]
        self._sent = list(messages(["A wonderful message."], _MESSAGES, 0, prefix=self.name))
        produce(self.kafka, self._sent)

    def move(self) -> None:
        """Moves the alias while the fault lasts; tried until the registry takes it."""
        lifecycle = registry_of(self.stack).lifecycle
        ends_s = time.monotonic() + _ENDS_S
        while True:
            try:
                state = lifecycle.state(NAME)
                if state.champion == self.version:
                    return
                if state.stage(self.version) != "staging":
                    lifecycle.transition(NAME, self.version, "staging", actor=ACTOR)
                lifecycle.transition(NAME, self.version, "production", actor=ACTOR)
            except RegistryError:
                if time.monotonic() > ends_s:
                    return
                time.sleep(_ASK_S)

    def end(self) -> list[str]:
        """Waits for all of it; what is lost, doubled or wrong, as sentences."""
        return [*self._of_the_job(), *self._of_the_stream(), *self._of_the_alias()]

    def _of_the_job(self) -> list[str]:
        url, ends_s = f"{self.stack.url}/api/v1/batch", time.monotonic() + _ENDS_S
        status = ""
        while time.monotonic() < ends_s:
            status = str(_get(f"{url}/status/{self._job}").get("status", ""))
            if status == "completed":
                break
            if status in ("failed", "cancelled", "expired"):
                return [f"the job ended as {status}"]
            time.sleep(_ASK_S)
        else:
            return [f"the job is {status or 'not to be found'} after {_ENDS_S:g} s"]
        page = _get(f"{url}/results/{self._job}?page_size=1000")
        return result_mistakes(page.get("results", []), _JOB_TEXTS)

    def _of_the_stream(self) -> list[str]:
        collector = Collector(self.kafka, self.name.encode())
        try:
            collector.wait(len(self._sent), _ENDS_S)
        except AssertionError as error:
            return [f"stream: {error}"]
        finally:
            collector.close()
        verdict = collector.ledger.verdict(self._sent)
        return [] if is_right(verdict) else [f"stream: {dict(verdict)}"]

    def _of_the_alias(self) -> list[str]:
        ends_s = time.monotonic() + _ENDS_S
        live: Mapping[str, Any] = {}
        while time.monotonic() < ends_s:
            live = _get(f"{self.stack.url}/api/v1/models/live").get("champion") or {}
            if live.get("version") == self.version:
                return []
            time.sleep(_ASK_S)
        return [f"version {live.get('version')} answers, not {self.version}"]


def result_mistakes(results: Sequence[Mapping[str, Any]], wanted: int) -> list[str]:
    """What is lost, doubled or wrong of a job's results."""
    indexes = [one["index"] for one in results]
    labels = {(one["prediction"] or {}).get("label") for one in results}
    mistakes = {
        f"the job lost {wanted - len(set(indexes))} of {wanted} results": set(indexes)
        == set(range(wanted)),
        f"the job doubled {len(indexes) - len(set(indexes))} results": len(indexes)
        == len(set(indexes)),
        f"the job's labels are {labels}": labels == {"POSITIVE"},
    }
    return [sentence for sentence, holds in mistakes.items() if not holds]


def _get(url: str) -> Mapping[str, Any]:
    """The body; empty where there is none yet."""
    try:
        answer = httpx.get(url, timeout=10)
        found: Mapping[str, Any] = answer.json() if answer.is_success else {}
        return found
    except (httpx.HTTPError, ValueError):
        return {}
