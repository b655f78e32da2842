"""Does the steps of a run one after another and keeps the record.

What is in the record already is not measured again, so a run that was stopped goes on where
it was. A peer that fails leaves its reason in the record, and the run goes on.
"""

import math
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from benchmarks.comparison.answer_parity import COMPARED_TEXTS, compare, reference
from benchmarks.comparison.catalogue import Setting, by_name
from benchmarks.comparison.errors import PeerFailed, ServerFailed
from benchmarks.comparison.load import answers, closed_loop, open_loop
from benchmarks.comparison.record import CACHED, CLOSED, Case, Record
from benchmarks.comparison.scope import SATURATED, Scope
from benchmarks.comparison.server_under_test import RunningServer, running
from benchmarks.comparison.steps import BARE, SEARCH, Step
from benchmarks.comparison.summary import bare_paces
from benchmarks.comparison.workloads import REAL, SEED, Dealer, workload
from benchmarks.harness import bare_engine as bare
from benchmarks.harness.models import MINILM, bundle_of
from benchmarks.loadgen.arrivals import poisson_arrivals
from deployments.tokenizer.replica import LoadedTokenizer
from registry.records import Bundle

_MOST_PER_S = 1_500
_SMALLER_MODELS_PACE = 4
_SETTLE_S = 30.0
_RECENT_S = 5.0
_LONGEST_WARM_UP_S = 20.0


@dataclass(frozen=True, slots=True)
class _Model:
    bundle: Bundle
    compared: list[str]
    expected: list[tuple[str, float]]


class Run:
    """One run over the steps."""

    def __init__(self, record: Record, scope: Scope, real: Sequence[str], *, cores: int) -> None:
        self._record = record
        self._scope = scope
        # The compared texts are kept out of the timed ones: a cache may know them.
        self._compared, self._real = list(real[:COMPARED_TEXTS]), list(real[COMPARED_TEXTS:])
        self._cores = cores
        self._models: dict[str, _Model] = {}
        # Of the bare engine: when, model, texts per second, milliseconds.
        self._last_bare = (0.0, "", 0.0, 0.0)
        self._workloads: dict[str, list[str]] = {}

    def do(self, step: Step, say: Callable[[str], object]) -> None:
        """Does one step; a failure of a peer goes into the record and to ``say``."""
        peer = step.peer
        try:
            if step.kind == BARE:
                self._bare(step)
                return
            peer = peer or self._by_rank(step)
            if peer and step.kind == SEARCH:
                self._search(step, say)
            elif peer:
                self._visit(replace(step, peer=peer), say)
        except (PeerFailed, OSError, subprocess.SubprocessError) as error:
            say(f"failed: {error}")
            self._record.note_failure(step.model, peer, str(step), str(error))
        else:
            self._record.note_failure(step.model, peer, str(step), "")

    def _bare(self, step: Step) -> None:
        done = self._record.content["bare"]
        if any((run["model"], run["when"]) == (step.model, step.when) for run in done):
            return
        done.append({"model": step.model, "when": step.when, **self._bare_now(step.model)})
        self._record.save()

    def _bare_now(self, model: str, policies: Sequence[str] = bare.POLICIES) -> dict[str, Any]:
        """Pace of each policy and latency of the bare engine at this minute."""
        folder = self._model(model).bundle.directory
        count = self._scope.bare_texts // (1 if model == MINILM else _SMALLER_MODELS_PACE)
        texts = self._real[:count]
        paces = {
            policy: round(bare.pace(folder, texts, policy, cores=self._cores), 1)
            for policy in policies
        }
        latency_ms = round(bare.latency_ms(folder, texts[: count // 4]), 2)
        self._last_bare = time.monotonic(), model, max(paces.values()), latency_ms
        return {"texts_per_s": paces, "p50_ms": latency_ms}

    def _ceiling(self, model: str) -> tuple[float, float]:
        """Texts per second and milliseconds of the bare engine, no older than ``_RECENT_S``."""
        at_s, of_model, *_ = self._last_bare
        if of_model != model or time.monotonic() - at_s > _RECENT_S:
            paces = bare_paces(self._record, model)
            self._bare_now(model, (max(paces, key=lambda policy: paces[policy]),))
        *_, pace, latency_ms = self._last_bare
        return pace, latency_ms

    def _search(self, step: Step, say: Callable[[str], object]) -> None:
        if self._record.grid_of(step.model, step.peer):
            return
        peer = by_name(step.peer)
        tried: list[dict[str, Any]] = []
        for setting in peer.grid(self._cores, short=self._scope.short_grid):
            pace, reason = None, ""
            try:
                pace = self._pace(step.model, step.peer, setting)
            except PeerFailed as error:
                reason = str(error)
            say(f"{setting}: {reason or f'{pace:.0f} texts/s'}")
            tried.append({"setting": asdict(setting), "texts_per_s": pace, "reason": reason})
        found = [entry for entry in tried if entry["texts_per_s"] is not None]
        if not found:
            raise ServerFailed(f"no setting works: {tried[0]['reason']}")
        winner = max(found, key=lambda entry: entry["texts_per_s"])["setting"]
        self._record.content["grids"].append(
            {"model": step.model, "peer": step.peer, "tried": tried, "winner": winner}
        )
        self._record.save()

    def _pace(self, model: str, peer: str, setting: Setting) -> float:
        bundle, seconds = self._model(model).bundle, self._scope.search_s
        with running(by_name(peer), setting, bundle.directory, cores=self._cores) as server:
            dealer = Dealer(self._texts(REAL))
            self._warm_up(server, dealer)
            texts = dealer.deal(math.ceil(seconds * _MOST_PER_S))
            pace: float = closed_loop(server, texts, SATURATED, seconds)["throughput_per_s"]
            return pace

    def _visit(self, step: Step, say: Callable[[str], object]) -> None:
        setting = self._setting(step)
        left = [replace(case, peer=step.peer) for case in step.cases]
        left = [case for case in left if not self._record.has(case)]
        closed = any(case.load == CLOSED and case.workload == REAL for case in left)
        before, first_row = self._ceiling(step.model) if closed else None, self._record.count
        # A server is started again when its next case would send it a text that its cache knows.
        while left:
            due = len(left)
            folder = self._model(step.model).bundle.directory
            with running(by_name(step.peer), setting, folder, cores=self._cores) as server:
                self._compare(step, server)
                dealer = Dealer(self._texts(left[0].workload))
                self._warm_up(server, dealer)
                while left and (row := self._measure(left[0], server, dealer)):
                    self._record.add_row(left[0], setting, row)
                    say(_short(left.pop(0), row))
            if len(left) == due:
                raise ServerFailed(f"too few texts for {left[0]}")
        if before:
            # Without the server, right before and right after it: this machine at that time.
            self._record.note_bare(first_row, before, self._ceiling(step.model))

    def _measure(self, case: Case, server: RunningServer, dealer: Dealer) -> dict[str, Any] | None:
        if case.load == CACHED:
            texts = dealer.deal(SATURATED)
            answers(server, texts, SATURATED // 4)
            seconds = self._scope.closed_s
            return closed_loop(server, texts * math.ceil(seconds * 60), SATURATED, seconds)
        if case.load == CLOSED:
            seconds = self._scope.turn_s if case.turn else self._scope.closed_s
            texts = dealer.deal(math.ceil(seconds * _MOST_PER_S))
            row = closed_loop(server, texts, case.concurrency, seconds)
            dealer.give_back(len(texts) - row["requests"])
            return row
        seconds = self._scope.turn_s if case.turn else self._scope.open_s
        rate_per_s = case.factor * max(bare_paces(self._record, case.model).values())
        due_s = poisson_arrivals(rate_per_s, seconds, SEED + case.turn)
        if by_name(case.peer).is_ours and dealer.would_repeat(len(due_s)):
            return None
        texts = dealer.deal(len(due_s))
        row = open_loop(server, texts, due_s, seconds, case.deadline_ms)
        # What an overloaded server still holds must not burden the next rate.
        server.ask("settled", _SETTLE_S)
        return {"rate_per_s": round(rate_per_s, 1), **row}

    def _compare(self, step: Step, server: RunningServer) -> None:
        done = self._record.content["comparisons"]
        if any((c["model"], c["peer"]) == (step.model, step.peer) for c in done):
            return
        model = self._model(step.model)
        alone = answers(server, model.compared, 1)
        # Ours may answer from its cache now; the others form batches.
        together = answers(server, model.compared, COMPARED_TEXTS)
        found = compare(model.expected, alone, together)
        done.append({"model": step.model, "peer": step.peer, **asdict(found)})
        self._record.save()

    def _warm_up(self, server: RunningServer, dealer: Dealer) -> None:
        texts = dealer.deal(self._scope.warm_up_texts)
        closed_loop(server, texts, SATURATED, _LONGEST_WARM_UP_S)

    def _setting(self, step: Step) -> Setting:
        peer = by_name(step.peer)
        if peer.is_ours:
            return Setting(0, 0.0, 0)
        best = self._record.best(step.model, step.peer) or self._record.best(MINILM, step.peer)
        return best or peer.usual(self._cores)

    def _by_rank(self, step: Step) -> str:
        """The peer with the ``rank``-th most throughput, ours left out; empty for none."""
        best: dict[str, float] = {}
        wanted = {"model": step.model, "workload": REAL, "load": CLOSED, "turn": 0}
        for row in self._record.rows(**wanted):
            if not by_name(row["peer"]).is_ours:
                best[row["peer"]] = row["throughput_per_s"]
        ranked = sorted(best, key=lambda name: -best[name])
        return ranked[step.rank - 1] if step.rank <= len(ranked) else ""

    def _model(self, name: str) -> _Model:
        if name not in self._models:
            bundle = bundle_of(name)
            expected = reference(bundle, self._compared)
            self._models[name] = _Model(bundle, self._compared, expected)
            self._record.content["models"][name] = {
                "digest": bundle.digest,
                "bytes": sum(size for _, size in bundle.files.values()),
            }
        return self._models[name]

    def _texts(self, name: str) -> list[str]:
        if name not in self._workloads:
            # Both models have the same tokenizer.
            tokenizer = LoadedTokenizer(self._model(MINILM).bundle)
            self._workloads[name] = workload(name, self._real, tokenizer)
        return self._workloads[name]


def _short(case: Case, row: dict[str, Any]) -> str:
    load = f"{case.factor:g} x bare" if case.factor else f"{case.load} {case.concurrency}"
    deadline = f", deadline {case.deadline_ms} ms" if case.deadline_ms else ""
    return (
        f"{load}{deadline}: {row['server_cpu_s_per_1000']} ms CPU, "
        f"{row['throughput_per_s']:.0f}/s, goodput {row['goodput_per_s']:.0f}/s, "
        f"p50 {row['p50_ms']} p99 {row['p99_ms']} ms, shed {row['shed']}, "
        f"errors {row['errors']}, unanswered {row['unanswered']}"
    )
