"""The database of drift: the same on SQLite and on a real PostgreSQL.

Deltas of three replicas, doubled, split and in any order, give the same state bit for bit.
"""

import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from planted_traffic import LABELS, Traffic, draw

from configs.schema.drift import DriftConfig
from deployments.clients.database import open_database
from deployments.inference.signals import Histograms, add, empty, seen
from deployments.insight.errors import (
    InsufficientData,
    NotWatched,
    ReferenceChanged,
    ReferenceInAlarm,
)
from deployments.insight.monitor import DriftMonitor
from deployments.insight.store import InsightStore
from deployments.insight.tables import metadata
from deployments.insight.watched import DAY_S, Watched
from deployments.payloads import ModelCounts, TrafficDelta

DIGEST = "ab" * 32
BLOCK_S = 10.0


def test_what_is_deleted_gives_its_space_back(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path}/insight.db", metadata)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE big (content BLOB)")
        connection.exec_driver_sql("INSERT INTO big VALUES (zeroblob(8000000))")

    def size() -> int:
        with engine.connect().execution_options(reads=True) as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            return int(pages) * int(connection.exec_driver_sql("PRAGMA page_size").scalar_one())

    assert size() > 8_000_000
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM big")
    InsightStore(engine).clean(1e9)
    assert size() < 1_000_000
    engine.dispose()


class Watch:
    """A monitor whose clock the test moves; ``again`` opens the same database anew."""

    def __init__(self, uri: str, **settings: float) -> None:
        self.uri, self.settings = uri, settings
        self.now_s = 1_000_000.0
        self.number = 0
        self.again()

    def again(self) -> None:
        engine = open_database(self.uri, metadata)
        self.store = InsightStore(engine)
        config = DriftConfig.model_validate({"baseline_texts": 1_000, **self.settings})
        self.monitor = DriftMonitor(config, self.store, lambda: self.now_s)

    def send(self, counts: Histograms, source: str = "a", number: int | None = None) -> None:
        self.number += 1
        model = ModelCounts(DIGEST, "m", 3, LABELS, counts)
        self.store.add(TrafficDelta(source, number or self.number, (model,)), self.now_s)

    def block(self, counts: Histograms) -> None:
        self.send(counts)
        self.now_s += BLOCK_S
        assert self.monitor.close_blocks() == 1

    def traffic(self, traffic: Traffic, blocks: int, seed: int = 1, size: int = 200) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(blocks):
            self.block(draw(rng, size, traffic))

    @property
    def found(self) -> Watched:
        return self.monitor.watched(DIGEST)


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pgserver = pytest.importorskip("pgserver")
    folder = tmp_path_factory.mktemp("pg")
    folder.chmod(0o755)
    server = pgserver.get_server(folder, cleanup_mode="stop")
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg2://", 1)
    server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def watch(request: pytest.FixtureRequest, tmp_path: Path) -> Watch:
    if request.param == "sqlite":
        return Watch(f"sqlite:///{tmp_path}/insight.db")
    uri: str = request.getfixturevalue("postgres")
    engine = open_database(uri, metadata)
    metadata.drop_all(engine)
    engine.dispose()
    return Watch(uri)


def deltas() -> list[tuple[str, int, Histograms]]:
    """Of three replicas, four each."""
    rng = np.random.default_rng(7)
    return [
        (source, number, draw(rng, 40 + number, Traffic()))
        for source in ("a", "b", "c")
        for number in range(1, 5)
    ]


@pytest.mark.parametrize("seed", range(4))
def test_doubled_and_disordered_deltas_leave_the_state_equal(tmp_path: Path, seed: int) -> None:
    found = []
    for turn in range(2):
        watch = Watch(f"sqlite:///{tmp_path}/{turn}.db")
        watch.traffic(Traffic(), 6)
        sent = deltas()
        if turn:
            sent = [*sent, *sent, *sent[:5]]
            random.Random(seed).shuffle(sent)
        for source, number, counts in sent:
            watch.send(counts, source, number)
            if turn and number == 2:
                watch.again()
        watch.now_s += BLOCK_S
        assert watch.monitor.close_blocks() == 1
        # Those that come late are known too.
        for source, number, counts in sent:
            watch.send(counts, source, number)
        watch.now_s += BLOCK_S
        assert watch.monitor.close_blocks() == 0
        found.append(replace(watch.found, reference_id=""))
    assert found[0] == found[1]
    assert found[0].blocks == 1


def test_a_delta_in_two_parts_is_the_same_block(tmp_path: Path) -> None:
    found = []
    for parts in (1, 2):
        watch = Watch(f"sqlite:///{tmp_path}/{parts}.db")
        watch.traffic(Traffic(), 6)
        halves = [draw(np.random.default_rng(seed), 60, Traffic()) for seed in (1, 2)]
        if parts == 1:
            total = empty(LABELS)
            for half in halves:
                add(total, half)
            halves = [total]
        for half in halves:
            watch.send(half)
        watch.now_s += BLOCK_S
        watch.monitor.close_blocks()
        found.append(watch.found.log_sums)
    assert found[0] == found[1]


def test_the_reference_is_learned_from_the_first_texts(watch: Watch) -> None:
    watch.traffic(Traffic(), 3)
    assert watch.found.learning
    assert watch.monitor.check(DIGEST).verdict == "not_enough_data"
    watch.traffic(Traffic(), 3)
    assert watch.found.reference_kind == "first_answers"
    assert sum(watch.found.reference["label"]) >= 1_000


def test_evidence_goes_on_after_a_restart(watch: Watch) -> None:
    watch.traffic(Traffic(), 7)
    watch.traffic(Traffic(positive=0.65), 4)
    before = watch.found
    watch.again()
    assert watch.found == before
    watch.traffic(Traffic(positive=0.95), 2)
    assert watch.found.level_of("label") == "drifted"
    watch.again()
    assert watch.monitor.check(DIGEST).prediction_drift_detected
    assert [event.kind for event in watch.monitor.events(DIGEST)][-1] == "reference"


def test_a_block_waits_for_100_texts_or_an_hour(watch: Watch) -> None:
    few = draw(np.random.default_rng(1), 30, Traffic())
    watch.send(few)
    watch.now_s += 60
    assert watch.monitor.close_blocks() == 0
    watch.now_s += 3_600
    assert watch.monitor.close_blocks() == 1
    assert watch.monitor.summary(DIGEST).pending_texts == 0


def test_blocks_are_never_closer_than_the_interval(watch: Watch) -> None:
    many = draw(np.random.default_rng(1), 500, Traffic())
    watch.send(many)
    assert watch.monitor.close_blocks() == 0
    watch.now_s += BLOCK_S
    assert watch.monitor.close_blocks() == 1
    watch.send(many)
    watch.now_s += BLOCK_S / 2
    assert watch.monitor.close_blocks() == 0
    assert watch.monitor.summary(DIGEST).pending_texts == 500


def test_one_text_ten_thousand_times_is_the_repeated_signal_alone(watch: Watch) -> None:
    watch.traffic(Traffic(), 6)
    counts = empty(LABELS)
    counts["repeated"] = [0, 10_000]
    watch.block(counts)
    levels = watch.monitor.summary(DIGEST).levels
    assert {name for name, level in levels.items() if level != "none"} == {"repeated"}


def test_a_level_holds_until_a_day_has_been_usual_for_a_day(watch: Watch) -> None:
    watch.traffic(Traffic(), 6)
    watch.traffic(Traffic(positive=0.95), 2)
    for hours in range(24 + 24 + 2):
        watch.now_s += 3_600
        watch.traffic(Traffic(), 1, seed=hours)
        watch.monitor.upkeep()
        if hours == 40:
            assert watch.found.level_of("label") == "drifted"
    assert watch.found.level_of("label") == "none"
    kinds = [(event.kind, event.signal) for event in watch.monitor.events(DIGEST)]
    assert ("ended", "label") in kinds


def test_reset_acknowledges_and_keeps_the_reference(watch: Watch) -> None:
    watch.traffic(Traffic(), 6)
    watch.traffic(Traffic(positive=0.95), 2)
    before = watch.found.reference_id
    watch.monitor.reset(DIGEST, "ann", "a campaign", relearn=False)
    summary = watch.monitor.summary(DIGEST)
    assert set(summary.levels.values()) == {"none"}
    assert summary.reference.id == before
    event = watch.monitor.events(DIGEST)[0]
    assert (event.kind, event.actor, event.reason) == ("reset", "ann", "a campaign")
    watch.monitor.reset(DIGEST, "ann", "", relearn=True)
    assert not watch.monitor.summary(DIGEST).baseline_established


def test_another_baseline_needs_texts_and_no_alarm_or_force(watch: Watch) -> None:
    def update(*, force: bool = False, if_match: str | None = None) -> str:
        changed = watch.monitor.update_baseline(DIGEST, "", "", force=force, if_match=if_match)
        return changed.reference.id

    watch.traffic(Traffic(), 2)
    with pytest.raises(InsufficientData):
        update()
    watch.traffic(Traffic(), 6)
    first = watch.found.reference_id
    with pytest.raises(ReferenceChanged):
        update(if_match='"another"')
    second = update(if_match=f'"{first}"')
    assert second != first
    assert watch.found.reference_kind == "accepted"
    watch.traffic(Traffic(positive=1.0), 3)
    with pytest.raises(ReferenceInAlarm):
        update()
    update(force=True)
    assert set(watch.monitor.summary(DIGEST).levels.values()) == {"none"}


def test_a_new_baseline_among_readers_waits_for_none(watch: Watch) -> None:
    watch.traffic(Traffic(), 8)
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            watch.monitor.summary(DIGEST)

    readers = [threading.Thread(target=read) for _ in range(8)]
    for reader in readers:
        reader.start()
    try:
        watch.monitor.update_baseline(DIGEST, "", "", force=False, if_match=None)
    finally:
        stop.set()
        for reader in readers:
            reader.join(20)
    assert not any(reader.is_alive() for reader in readers)
    assert watch.found.reference_kind == "accepted"


@pytest.mark.parametrize("size", [400, 1_000])
def test_the_window_is_as_large_as_asked_for(tmp_path: Path, size: int) -> None:
    watch = Watch(f"sqlite:///{tmp_path}/insight.db", window_size=size)
    watch.traffic(Traffic(), 8)
    assert watch.monitor.summary(DIGEST).current_window_size == size


@pytest.mark.parametrize(("least", "verdict"), [(200, "none"), (700, "not_enough_data")])
def test_a_window_with_few_texts_is_not_compared(tmp_path: Path, least: int, verdict: str) -> None:
    watch = Watch(f"sqlite:///{tmp_path}/insight.db", min_samples=least)
    watch.traffic(Traffic(), 6)
    watch.now_s += DAY_S
    watch.traffic(Traffic(), 1, size=500)
    check = watch.monitor.check(DIGEST)
    assert check.verdict == verdict
    assert check.missing_texts == max(0, least - 500)


@pytest.mark.parametrize(
    ("psi_threshold", "ks_threshold", "marked"),
    [(0.1, 1e-300, True), (10, 0.05, True), (10, 1e-300, False)],
)
def test_each_threshold_marks_a_row_and_none_alarms(
    tmp_path: Path, psi_threshold: float, ks_threshold: float, marked: bool
) -> None:
    uri = f"sqlite:///{tmp_path}/insight.db"
    watch = Watch(uri, psi_threshold=psi_threshold, ks_threshold=ks_threshold, tolerance=0.4)
    watch.traffic(Traffic(), 6)
    watch.traffic(Traffic(length=40), 5)
    row = watch.monitor.check(DIGEST).statistical_tests["length"]
    assert row.marked is marked
    assert row.level == "changed"


def test_the_window_has_the_latest_blocks_alone(watch: Watch) -> None:
    watch.traffic(Traffic(), 6)
    watch.traffic(Traffic(cyrillic=1.0), 5)
    window = watch.store.window(watch.found, 1_000, watch.now_s)
    assert seen(window) == 1_000
    assert window["script"][1] == sum(window["script"])


def test_old_rows_are_deleted_and_nothing_else(watch: Watch) -> None:
    watch.traffic(Traffic(), 8)
    watch.send(draw(np.random.default_rng(1), 30, Traffic()))
    watch.now_s += 2 * DAY_S
    watch.monitor.upkeep()
    summary = watch.monitor.summary(DIGEST)
    assert (summary.current_window_size, summary.pending_texts) == (0, 30)
    assert summary.baseline_established
    watch.now_s += 40 * DAY_S
    watch.monitor.upkeep()
    with pytest.raises(NotWatched):
        watch.monitor.summary(DIGEST)
