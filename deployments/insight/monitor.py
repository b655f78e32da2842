"""What the routes ask of drift, and what the upkeep does. Every method blocks: use a thread."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict

from configs.schema.drift import DriftConfig
from deployments.inference.signals import Histograms, seen
from deployments.insight.drift import LEVELS, Drift, Level
from deployments.insight.errors import (
    InsufficientData,
    NotWatched,
    ReferenceChanged,
    ReferenceInAlarm,
)
from deployments.insight.schemas import (
    Changed,
    DriftCheck,
    DriftEvent,
    DriftSummary,
    FalseAlarmRate,
    ReferenceBody,
    SignalBody,
)
from deployments.insight.schemas import Thresholds as ThresholdsBody
from deployments.insight.sizes import Thresholds, report
from deployments.insight.store import InsightStore
from deployments.insight.watched import (
    DAY_S,
    Event,
    Watched,
    absorb,
    accept,
    drift_of,
    release,
    reset,
    signal_names,
)

# A block has so many texts, or has waited so long.
BLOCK_TEXTS = 100
_BLOCK_MAX_S = 3_600.0
MIN_BASELINE = 1_000
_EVENTS = 100


class DriftMonitor:
    """Keeps nothing in memory: all state is in the store."""

    def __init__(
        self, config: DriftConfig, store: InsightStore, clock: Callable[[], float] = time.time
    ) -> None:
        self._config = config
        self._store = store
        self._clock = clock

    def close_blocks(self) -> int:
        """Closes the blocks that are full; how many there were."""
        now_s = self._clock()

        def is_full(texts: int, age_s: float) -> bool:
            enough = texts >= BLOCK_TEXTS and age_s >= self._config.report_interval_s
            return enough or age_s >= _BLOCK_MAX_S

        return self._store.close_blocks(
            now_s, is_full, lambda found, block: absorb(found, block, now_s, self._config)
        )

    def upkeep(self) -> None:
        """Ends levels that hold no more, and deletes what is old. Every few minutes."""
        now_s = self._clock()

        def change(found: Watched, day: Histograms) -> tuple[Watched, Sequence[Event]]:
            return release(found, day, now_s, self._config)

        for digest in self._store.digests():
            self._store.change(digest, now_s, change)
        self._store.clean(now_s)

    def watched(self, digest: str) -> Watched:
        """A version.

        Raises:
            NotWatched: None of its texts was counted.
        """
        found = self._store.watched(digest)
        if found is None:
            raise NotWatched(
                "no text of this version was counted yet; counts arrive every "
                f"{self._config.report_interval_s:g} s",
                {"model_digest": digest},
            )
        return found

    def summary(self, digest: str) -> DriftSummary:
        """The state of a version.

        Raises:
            NotWatched: None of its texts was counted.
        """
        found, config, now_s = self.watched(digest), self._config, self._clock()
        drift = drift_of(found, config)
        window = self._store.window(found, config.window_size, now_s)
        return DriftSummary(
            model_name=found.name,
            model_version=found.version,
            model_digest=digest,
            baseline_established=not found.learning,
            baseline_size=drift.reference.n,
            current_window_size=seen(window),
            pending_texts=self._store.pending(digest),
            last_check=found.block_s or None,
            total_drift_checks=found.blocks,
            drifts_last_24h=self._store.alarms(digest, now_s - DAY_S),
            latest_drift_score=max(evidence_of(drift).values()),
            thresholds=ThresholdsBody(psi=config.psi_threshold, ks_pvalue=config.ks_threshold),
            reference=self._reference(found),
            levels={name: found.level_of(name) for name in signal_names(found)},
            since={name: held.since_s for name, held in found.levels.items()},
            false_alarm_rate=FalseAlarmRate(
                alpha=config.alpha, horizon_days=config.horizon_days, tests=drift.tests
            ),
        )

    def check(self, digest: str) -> DriftCheck:
        """The window beside the reference.

        Raises:
            NotWatched: None of its texts was counted.
        """
        found, config, now_s = self.watched(digest), self._config, self._clock()
        window = self._store.window(found, config.window_size, now_s)
        missing = config.min_samples - seen(window)
        if found.learning:
            missing = max(missing, config.baseline_texts - sum(found.reference["label"]))
        enough = missing <= 0
        tests = self._tests(found, window) if enough else {}
        drifted = {name for name, row in tests.items() if row.level == "drifted"}
        of_answer = {"label", "confidence"}
        reached: list[Level] = [row.level for row in tests.values()]
        return DriftCheck(
            timestamp=now_s,
            verdict=max(reached, key=LEVELS.index) if enough else "not_enough_data",
            missing_texts=max(0, missing),
            data_drift_detected=bool(drifted - of_answer),
            prediction_drift_detected=bool(drifted & of_answer),
            drift_score=max((row.evidence for row in tests.values()), default=0.0),
            statistical_tests=tests,
            feature_drifts={
                "confidence": "confidence" in drifted,
                "text_length": "length" in drifted,
                "prediction_distribution": "label" in drifted,
            },
        )

    def report(self, digest: str) -> tuple[Watched, DriftCheck]:
        """What the HTML report shows.

        Raises:
            InsufficientData: There is too little to compare.
            NotWatched: None of the version's texts was counted.
        """
        found, check = self.watched(digest), self.check(digest)
        if check.verdict == "not_enough_data":
            raise InsufficientData(
                f"{check.missing_texts} more texts must be answered before there is a report",
                {"missing_texts": check.missing_texts},
            )
        return found, check

    def events(self, digest: str) -> list[DriftEvent]:
        """The latest first.

        Raises:
            NotWatched: None of the version's texts was counted.
        """
        self.watched(digest)
        rows = self._store.events(digest, _EVENTS)
        return [DriftEvent(at=row.at_s, **_without(asdict(row), "at_s", "digest")) for row in rows]

    def reset(self, digest: str, actor: str, reason: str, *, relearn: bool) -> Changed:
        """Acknowledges all levels: evidence begins anew, and with ``relearn`` the reference too.

        Raises:
            NotWatched: None of the version's texts was counted.
        """
        now_s = self._clock()
        self.watched(digest)

        def change(found: Watched, _: Histograms) -> tuple[Watched, Sequence[Event]]:
            level = "learning" if relearn else ""
            event = Event(now_s, "reset", digest, level=level, actor=actor, reason=reason)
            return reset(found, learn=relearn), [event]

        after = self._store.change(digest, now_s, change)
        assert after is not None
        return Changed(message="drift detection begins anew", reference=self._reference(after))

    def update_baseline(
        self, digest: str, actor: str, reason: str, *, force: bool, if_match: str | None
    ) -> Changed:
        """Takes the texts of the last 24 hours as the reference.

        Raises:
            InsufficientData: They are fewer than ``MIN_BASELINE``.
            ReferenceInAlarm: Something has drifted, and this is not forced.
            ReferenceChanged: ``if_match`` names another reference.
            NotWatched: None of the version's texts was counted.
        """
        now_s = self._clock()
        self.watched(digest)

        def change(found: Watched, day: Histograms) -> tuple[Watched, Sequence[Event]]:
            if if_match is not None and if_match.strip('"') != found.reference_id:
                raise ReferenceChanged(
                    "the reference is another one by now", {"reference_id": found.reference_id}
                )
            texts = sum(day["label"])
            if texts < MIN_BASELINE:
                raise InsufficientData(
                    f"{texts} distinct texts of the last 24 hours are too few; "
                    f"{MIN_BASELINE} are needed",
                    {"texts": texts, "needed": MIN_BASELINE},
                )
            drifted = sorted(n for n in found.levels if found.level_of(n) == "drifted")
            if drifted and not force:
                raise ReferenceInAlarm(
                    f"{', '.join(drifted)} drifted; with `force` that becomes what is usual",
                    {"drifted": drifted},
                )
            event = Event(now_s, "reference", digest, "", "accepted", actor, reason)
            return accept(found, day, now_s), [event]

        after = self._store.change(digest, now_s, change)
        assert after is not None
        return Changed(message="the reference was replaced", reference=self._reference(after))

    def _tests(self, found: Watched, window: Histograms) -> dict[str, SignalBody]:
        drift = drift_of(found, self._config)
        rows = report(
            drift.reference,
            window,
            evidence_of(drift),
            {name: (held.level, held.since_s) for name, held in found.levels.items()},
            Thresholds(self._config.psi_threshold, self._config.ks_threshold),
        )
        return {name: SignalBody(**asdict(row)) for name, row in rows.items()}

    def _reference(self, found: Watched) -> ReferenceBody:
        return ReferenceBody(
            id=found.reference_id,
            kind=found.reference_kind,
            n=sum(found.reference["label"]),
            n_wanted=self._config.baseline_texts,
            made=found.reference_s or None,
        )


def evidence_of(drift: Drift) -> dict[str, float]:
    """Evidence of the level ``drifted`` by signal."""
    return {name: value for (level, name), value in drift.evidence().items() if level == "drifted"}


def _without(row: dict[str, object], *names: str) -> dict[str, object]:
    return {name: value for name, value in row.items() if name not in names}
