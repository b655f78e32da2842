"""Work that is under way while something fails: a version is promoted, texts are worked off.

``Work`` begins a job, an uploaded file and messages, and brings a version to production: by hand
during the fault, or by a release that is under way when it comes. At the end it says what became of
each: all results are there, each once and each with the model's label, and the graph answers with
the version that the registry has as champion.
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
from registry.policy import Policy, ReleasePolicy

_JOB_TEXTS, _MESSAGES = 400, 200
_ENDS_S, _ASK_S = 180.0, 0.3
ALIAS, RELEASE = "alias", "release"
BY = (ALIAS, RELEASE)
_OVER = ("promote", "release_rollback", "release_abort")
POLICY = Policy(
    release=ReleasePolicy(
        canary_weights=(0.5,), min_texts=40, min_step_s=4, max_step_s=150, accuracy_proof=0
    )
)


@dataclass
class Work:
    """A job, messages and an alias move of one experiment.

    Attributes:
        stack: With jobs, a stream and two versions of the model.
        kafka: Address of the broker, past any proxy.
        name: Of the experiment; nothing of two experiments is mixed up.
        version: It becomes the champion.
        by: A move of the alias by hand, or a release.
    """

    stack: Stack
    kafka: str
    name: str
    version: int
    by: str = ALIAS
    _not_begun: str = ""
    _job: str = ""
    _file: str = ""
    _sent: list[Sent] = field(default_factory=list)

    def begin(self) -> None:
        """Begins all that is under way before the fault."""
        try:
            self._begin()
        except httpx.HTTPError as error:
            # The fault before left something behind; the others are still looked at.
            self._not_begun = f"the work could not begin: {error!r}"

    def _begin(self) -> None:
        url = f"{self.stack.url}/api/v1/batch"
        texts = [f"{self.name}, a wonderful text {i}" for i in range(_JOB_TEXTS)]
        self._job = _submitted(httpx.post(f"{url}/predict", json={"texts": texts}, timeout=30))
        rows = "\n".join(f'{i},"{self.name}, a wonderful row {i}"' for i in range(_JOB_TEXTS))
        upload = {"file": ("rows.csv", f"id,text\n{rows}\n")}
        self._file = _submitted(httpx.post(f"{url}/files", files=upload, timeout=30))
        self._sent = list(messages(["A wonderful message."], _MESSAGES, 0, prefix=self.name))
        produce(self.kafka, self._sent)
        if self.by == RELEASE:
            registry = registry_of(self.stack)
            if registry.lifecycle.state(NAME).stage(self.version) != "staging":
                registry.lifecycle.transition(NAME, self.version, "staging", actor=ACTOR)
            registry.releases.start(NAME, self.version, actor=ACTOR)

    def move(self) -> None:
        """Moves the alias while the fault lasts; tried until the registry takes it."""
        if self.by == RELEASE:
            return
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
        if self._not_begun:
            return [self._not_begun]
        jobs = [*self._of_a_job("job", self._job), *self._of_a_job("file", self._file)]
        return [*jobs, *self._of_the_stream(), *self._of_the_version()]

    def outcome(self) -> str:
        """What became of the version, once all has ended."""
        if self.by == ALIAS:
            return "the alias moved"
        last = [e for e in registry_of(self.stack).ledger.events(NAME) if e.action in _OVER][-1]
        return "the release promoted" if last.action == "promote" else f"released: {last.reason}"

    def _of_a_job(self, what: str, job: str) -> list[str]:
        url, ends_s = f"{self.stack.url}/api/v1/batch", time.monotonic() + _ENDS_S
        status = ""
        while time.monotonic() < ends_s:
            status = str(_get(f"{url}/status/{job}").get("status", ""))
            if status == "completed":
                break
            if status in ("failed", "cancelled", "expired"):
                return [f"the {what} ended as {status}"]
            time.sleep(_ASK_S)
        else:
            return [f"the {what} is {status or 'not to be found'} after {_ENDS_S:g} s"]
        page = _get(f"{url}/results/{job}?page_size=1000")
        return result_mistakes(page.get("results", []), _JOB_TEXTS, what)

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

    def _of_the_version(self) -> list[str]:
        lifecycle, ends_s = registry_of(self.stack).lifecycle, time.monotonic() + _ENDS_S
        live: Mapping[str, Any] = {}
        while time.monotonic() < ends_s:
            live = _get(f"{self.stack.url}/api/v1/models/live").get("champion") or {}
            state = lifecycle.state(NAME)
            # A release may also end as a rollback: the fault is then its reason.
            wanted = state.champion if self.by == RELEASE else self.version
            if state.release is None and live.get("version") == wanted:
                return []
            time.sleep(_ASK_S)
        under_way = "" if lifecycle.state(NAME).release is None else ", a release is under way"
        return [f"version {live.get('version')} answers, not {self.version}{under_way}"]


def result_mistakes(
    results: Sequence[Mapping[str, Any]], wanted: int, what: str = "job"
) -> list[str]:
    """What is lost, doubled or wrong of a job's or a file's results."""
    indexes = [one["index"] for one in results]
    labels = {(one["prediction"] or {}).get("label") for one in results}
    mistakes = {
        f"the {what} lost {wanted - len(set(indexes))} of {wanted} results": set(indexes)
        == set(range(wanted)),
        f"the {what} doubled {len(indexes) - len(set(indexes))} results": len(indexes)
        == len(set(indexes)),
        f"the {what}'s labels are {labels}": labels == {"POSITIVE"},
    }
    return [sentence for sentence, holds in mistakes.items() if not holds]


def _submitted(answer: httpx.Response) -> str:
    return str(answer.raise_for_status().json()["job_id"])


def _get(url: str) -> Mapping[str, Any]:
    """The body; empty where there is none yet."""
    try:
        answer = httpx.get(url, timeout=10)
        found: Mapping[str, Any] = answer.json() if answer.is_success else {}
        return found
    except (httpx.HTTPError, ValueError):
        return {}
