"""Feedback in the database, on SQLite and on a real PostgreSQL: ids, events, queue, accuracy."""

import csv
import io
import json
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from front import LIVE
from sqlalchemy import select

from configs.schema.feedback import FeedbackConfig
from deployments.clients.database import open_database
from deployments.errors import InvalidInput, UnknownPrediction
from deployments.inference.prediction_ids import PredictionIds
from deployments.insight.errors import NothingToReview, NotWatched
from deployments.insight.feedback.desk import FeedbackDesk
from deployments.insight.feedback.exports import Format, export, from_label_studio
from deployments.insight.feedback.labels import FeedbackEvent, derive
from deployments.insight.feedback.queue import ReviewQueue
from deployments.insight.feedback.schemas import ReviewRequest
from deployments.insight.feedback.store import FeedbackStore
from deployments.insight.feedback.tables import events, labels
from deployments.insight.tables import metadata
from deployments.payloads import Correction, DrawnAnswer
from deployments.versions import ServedVersion

IDS = PredictionIds("")
# Another registered model with a version of the same number.
OTHER = replace(LIVE, name="other", digest="ef" * 32, labels=("anger", "joy", "fear"))
DAY_S = 86_400.0


class Desk(FeedbackDesk):
    """A desk with a clock that the test moves; ``again`` opens the same database anew."""

    def __init__(self, uri: str, **settings: Any) -> None:
        self.uri, self.settings = uri, settings
        self.now_s = time.time()
        self.engine = open_database(uri, metadata)
        self.store, self.queue = FeedbackStore(self.engine), ReviewQueue(self.engine)
        self.store.know([LIVE])
        config = FeedbackConfig.model_validate({"enabled": True, **settings})
        super().__init__(config, self.store, self.queue, lambda: self.now_s, random.Random(1))

    def again(self, **settings: Any) -> "Desk":
        return Desk(self.uri, **self.settings | settings)

    def answer(
        self, label: int = 1, drawn: str = "", share: float = 0.5, model: ServedVersion = LIVE
    ) -> str:
        number = IDS.make((model.digest, model.version), label, 0.9)
        if drawn:
            answer = replace(waiting(number, label, drawn, share), digest=model.digest)
            self.queue.draw([answer], 10_000)
        return number

    def says(self, number: str, label: str, actor: str = "someone") -> Any:
        return self.correct(Correction(number, label, actor))

    def reviews(self, number: str, label: str, actor: str = "reviewer") -> Any:
        return self.review(Correction(number, label, actor))


def waiting(number: str, label: int = 1, drawn: str = "random", share: float = 0.5) -> DrawnAnswer:
    said = OTHER.labels[2] if label == 2 else LIVE.labels[label]
    scores = {"NEG": 0.1, "POS": 0.9}
    text = f"=text of {number}"
    return DrawnAnswer(number, LIVE.digest, time.time(), text, said, scores, drawn, share, "http")


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pgserver = pytest.importorskip("pgserver")
    folder = tmp_path_factory.mktemp("pg")
    folder.chmod(0o755)
    server = pgserver.get_server(folder, cleanup_mode="stop")
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg2://", 1)
    server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/insight.db"
    found: str = request.getfixturevalue("postgres")
    engine = open_database(found, metadata)
    metadata.drop_all(engine)
    engine.dispose()
    return found


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(f"sqlite:///{tmp_path}/insight.db")


def test_an_answer_is_judged_by_any_replica_after_any_restart(uri: str) -> None:
    desk = Desk(uri)
    number = desk.answer(label=1)
    first = desk.says(number, "neg")
    assert (first.version, first.correct, first.again) == (LIVE.version, False, False)
    again = desk.again().says(number, "NEG")
    assert (again.correct, again.again) == (False, True)
    assert desk.again().says(number, "POS").again is False
    assert desk.says(number, "sad").correct is None
    forged = number[:-1] + ("0" if number[-1] != "0" else "1")
    assert desk.says(forged, "POS") is None
    with pytest.raises(UnknownPrediction):
        desk.reviews(forged, "POS")
    with pytest.raises(InvalidInput, match="it has NEG, POS"):
        desk.reviews(number, "sad")


def test_an_answer_takes_so_many_judgements(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.insight.feedback.store.MOST_EVENTS", 3)
    number = desk.answer()
    for label in ("POS", "NEG", "POS"):
        desk.now_s += 1
        desk.says(number, label)
    with pytest.raises(InvalidInput, match="judged 3 times"):
        desk.says(number, "NEG")
    assert desk.says(number, "POS").again is True


def test_age_limits_feedback_and_old_rows_go(desk: Desk) -> None:
    number = desk.answer(drawn="random")
    desk.now_s += 89 * DAY_S
    assert desk.says(number, "POS") is not None
    desk.now_s += 2 * DAY_S
    assert desk.says(number, "POS") is None
    desk.upkeep()
    assert len(list(desk.rows(LIVE.digest, waiting=False))) == 1
    desk.now_s += 100 * DAY_S
    desk.upkeep()
    assert list(desk.rows(LIVE.digest, waiting=False)) == []
    assert desk.waiting(LIVE.name) == {"leased": 0, "conflict": 0}
    assert desk.again(max_age_days=1_000).says(desk.answer(), "POS") is not None


def test_ids_of_the_key_before_are_taken_while_it_is_named(desk: Desk) -> None:
    number = desk.answer()
    assert desk.again(id_key="new").says(number, "POS") is None
    old = PredictionIds("old").make((LIVE.digest, LIVE.version), 1, 0.9)
    assert desk.again(id_key="new", old_id_key="old").says(old, "POS") is not None


def test_two_writers_and_any_order_give_one_table(uri: str) -> None:
    desk = Desk(uri)
    numbers = [desk.answer(label=i % 2) for i in range(6)]
    said = [
        FeedbackEvent(
            f"{actor}-{number}-{time_s}", number, LIVE.digest, label, source, actor, time_s
        )
        for number in numbers
        for actor, source, label, time_s in (
            ("a", "caller", "NEG", 1.0),
            ("a", "caller", "POS", 2.0),
            ("r", "import", "NEG", 3.0),
            ("s", "import", "POS", 0.5),
        )
    ]

    def write(seed: int) -> None:
        mine = [*said, *said]
        random.Random(seed).shuffle(mine)
        for event in mine:
            desk.store.add(replace(event, source="import"), "POS", 0.0)

    writers = [threading.Thread(target=write, args=(seed,)) for seed in (1, 2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    with desk.engine.connect() as connection:
        kept = connection.execute(select(events)).all()
        table = connection.execute(select(labels).order_by(labels.c.prediction_id)).all()
    assert len(kept) == len(said)
    assert len(table) == len(numbers)
    for row in table:
        of_it = [replace(e, source="import") for e in said if e.prediction_id == row.prediction_id]
        wanted = derive(of_it)
        assert (row.label, row.status, bool(row.trusted), row.events) == (
            wanted.label,
            wanted.status,
            wanted.trusted,
            wanted.events,
        )


def test_a_lease_is_one_reviewer_s_until_it_ends(uri: str) -> None:
    desk = Desk(uri, lease_s=60)
    one, two = desk.answer(drawn="random"), desk.answer(drawn="margin")
    first = desk.next("ann", LIVE.name, show=False).task
    assert first is not None
    assert (first.label, first.scores, first.labels) == (None, None, ["NEG", "POS"])
    assert desk.next("ann", LIVE.name, show=True).task.prediction_id == first.prediction_id  # type: ignore[union-attr]
    second = desk.next("bob", LIVE.name, show=True).task
    assert second is not None
    assert {first.prediction_id, second.prediction_id} == {one, two}
    assert second.label == "POS"
    assert desk.next("cid", LIVE.name, show=False).task is None
    assert desk.waiting(LIVE.name) == {"random": 1, "margin": 1, "leased": 2, "conflict": 0}
    desk.now_s += 61
    assert desk.next("cid", LIVE.name, show=False).task is not None
    desk.reviews(first.prediction_id, "POS", "ann")
    desk.reviews(second.prediction_id, "POS", "bob")
    assert desk.next("cid", LIVE.name, show=False).task is None


def test_a_caller_s_word_leaves_an_answer_in_the_queue(desk: Desk) -> None:
    number = desk.answer(drawn="random")
    desk.says(number, "NEG")
    assert desk.next("ann", LIVE.name, show=False).task is not None


def test_reviewers_who_disagree_bring_it_back_for_others(desk: Desk) -> None:
    number = desk.answer(drawn="random")
    desk.reviews(number, "POS", "ann")
    assert desk.reviews(number, "NEG", "bob").status == "conflict"
    assert desk.next("ann", LIVE.name, show=False).task is None
    task = desk.next("cid", LIVE.name, show=False).task
    assert task is not None
    assert desk.reviews(task.prediction_id, "NEG", "cid").status == "overruled"
    assert desk.accuracy(LIVE.digest).accuracy.n == 1


def test_two_models_with_versions_of_one_number_are_kept_apart(uri: str) -> None:
    desk = Desk(uri)
    mine = desk.answer(drawn="random")
    desk.store.know([OTHER])
    theirs = desk.answer(label=2, drawn="random", model=OTHER)
    asked = desk.next("ann", OTHER.name, show=True)
    assert asked.task is not None
    assert (asked.task.prediction_id, asked.task.model_name) == (theirs, OTHER.name)
    assert asked.task.labels == ["anger", "joy", "fear"]
    assert (asked.waiting["random"], asked.other_models) == (1, {LIVE.name: 1})
    # A reviewer who holds an answer of one model is given one of the other all the same.
    before = desk.next("ann", LIVE.name, show=False)
    assert before.task is not None
    assert (before.task.prediction_id, before.other_models) == (mine, {OTHER.name: 1})
    assert desk.says(mine, "NEG").labels == LIVE.labels
    assert desk.says(theirs, "NEG").correct is None
    assert desk.reviews(theirs, "fear").correct
    assert desk.reviews(mine, "NEG").predicted == "POS"
    assert desk.accuracy(OTHER.digest).accuracy.value == 1
    assert desk.accuracy(LIVE.digest).accuracy.value == 0
    assert [r["prediction_id"] for r in desk.rows(OTHER.digest, waiting=False)] == [theirs]
    with pytest.raises(NotWatched, match="no model 'third'"):
        desk.check_name("third")
    desk.check_name(OTHER.name)


def test_a_full_queue_of_one_model_drops_nothing_of_another(desk: Desk) -> None:
    desk.store.know([OTHER])
    for _ in range(3):
        desk.answer(drawn="random")
    number = desk.answer(model=OTHER)
    desk.queue.draw([replace(waiting(number, 1, "margin"), digest=OTHER.digest)], 3)
    assert desk.waiting(OTHER.name)["margin"] == 1
    assert desk.waiting(LIVE.name)["random"] == 3


def test_the_same_files_under_another_name_are_shown_by_that(desk: Desk) -> None:
    number = desk.answer()
    desk.store.know([replace(LIVE, name="renamed", version=1)])
    assert desk.accuracy(LIVE.digest).model_name == "renamed"
    assert desk.says(number, "POS").correct


def test_ids_of_release_0_1_are_still_taken(desk: Desk) -> None:
    number = IDS.make(("", LIVE.version), 1, 0.9)
    assert desk.says(number, "POS").correct


def test_a_full_queue_drops_what_measures_nothing_first(desk: Desk) -> None:
    for kind in ("random", "margin", "margin", "random", "random"):
        number = IDS.make((LIVE.digest, LIVE.version), 1, 0.9)
        desk.queue.draw([waiting(number, 1, kind)], 3)
    assert desk.waiting(LIVE.name)["random"] == 3
    assert "margin" not in desk.waiting(LIVE.name)


def test_without_texts_there_is_no_queue(desk: Desk) -> None:
    with pytest.raises(NothingToReview, match=r"feedback\.text"):
        desk.again(text="none").next("ann", LIVE.name, show=False)


def test_volunteers_and_one_loud_key_never_move_the_accuracy(desk: Desk) -> None:
    for index in range(100):
        desk.reviews(desk.answer(label=1, drawn="random"), "POS" if index < 90 else "NEG")
    before = desk.accuracy(LIVE.digest)
    assert before.accuracy.value == pytest.approx(0.9)
    assert before.complete
    for number in range(300):
        desk.says(desk.answer(label=1), "NEG", f"volunteer {number % 30}")
    with desk.engine.connect() as connection:
        judged = connection.scalars(select(labels.c.prediction_id).limit(50)).all()
    for number in judged:
        desk.says(number, "NEG", "attacker")
    after = desk.accuracy(LIVE.digest)
    assert after.accuracy == before.accuracy
    assert (after.volunteered, after.volunteered_wrong) == (300, 300)
    assert [actor.suspicious for actor in after.actors if actor.n == 50] == [True]


def test_unjudged_ones_make_it_incomplete(desk: Desk) -> None:
    for _ in range(10):
        desk.answer(drawn="random")
    for _ in range(6):
        desk.reviews(desk.answer(drawn="random"), "POS")
    found = desk.accuracy(LIVE.digest)
    assert (found.drawn, found.judged_share, found.complete) == (16, 6 / 16, False)
    assert found.days[-1].n == 6
    with pytest.raises(NotWatched):
        desk.accuracy("cd" * 32)


def test_the_estimate_is_within_its_range_under_biased_volunteering() -> None:
    """100 seeds: wrong answers are reported 15 times as often; the audit sees none of that."""
    from deployments.insight.feedback.accuracy import confidence_sequence  # noqa: PLC0415

    held, volunteered = 0, []
    for seed in range(100):
        chance = random.Random(seed)
        right = [chance.random() < 0.9 for _ in range(20_000)]
        told = [each for each in right if chance.random() < (0.02 if each else 0.3)]
        volunteered.append(sum(told) / len(told))
        audit = [each for each in right if chance.random() < 0.02]
        looks = (confidence_sequence(sum(audit[:n]), n, 0.05) for n in range(20, len(audit), 20))
        held += all(found.low <= sum(right) / len(right) <= found.high for found in looks)
    assert held >= 95
    assert max(volunteered) < 0.6


def test_a_proven_fall_is_told_where_a_reference_is_set(desk: Desk) -> None:
    for index in range(300):
        desk.reviews(desk.answer(label=1, drawn="random"), "POS" if index % 10 < 7 else "NEG")
    assert desk.accuracy(LIVE.digest).lost_evidence == 0
    assert desk.again(reference_accuracy=0.9).accuracy(LIVE.digest).lost_evidence > 1
    narrow = desk.again(alpha=0.3).accuracy(LIVE.digest).accuracy
    wide = desk.accuracy(LIVE.digest).accuracy
    assert narrow.high - narrow.low < wide.high - wide.low


def test_exports_and_imports(desk: Desk) -> None:
    judged, open_one = desk.answer(drawn="random"), desk.answer(drawn="random")
    alone = desk.answer()
    desk.reviews(judged, "NEG")
    desk.says(alone, "POS")

    def file(form: Format, *, waiting: bool = False) -> bytes:
        return b"".join(export(desk.rows(LIVE.digest, waiting=waiting), form))

    rows = {row["prediction_id"]: row for row in map(json.loads, file("jsonl").splitlines())}
    assert rows.keys() == {judged, alone}
    assert rows[judged]["text"].startswith("=text")
    assert (rows[judged]["label"], rows[judged]["predicted"]) == ("NEG", "POS")
    assert (rows[judged]["drawn"], rows[judged]["share"], rows[alone]["text"]) == (
        "random",
        0.5,
        None,
    )
    table = csv.DictReader(io.StringIO(file("csv").decode()))
    assert {row["text"][:2] for row in table} == {"'=", ""}
    assert pq.read_table(io.BytesIO(file("parquet"))).num_rows == 2
    (task,) = json.loads(file("label-studio", waiting=True))
    assert task["meta"]["prediction_id"] == open_one
    choice = {"value": {"choices": ["NEG"]}}
    task["annotations"] = [{"result": [choice], "was_cancelled": False}]
    made = list(from_label_studio([task, {"meta": {}}, {"annotations": []}]))
    assert made == [ReviewRequest(prediction_id=open_one, label="NEG")]
    bad = ReviewRequest(prediction_id="0" * 36, label="NEG")
    wrong = ReviewRequest(prediction_id=judged, label="sad")
    receipt = desk.take([*made, bad, wrong], "ann")
    assert (receipt.taken, receipt.known) == (1, 0)
    assert receipt.refused == {"unknown prediction": 1, "unknown label": 1}
    assert desk.take(made, "ann").known == 1
    assert desk.waiting(LIVE.name) == {"leased": 0, "conflict": 0}


def test_the_outbox_keeps_what_no_topic_took(desk: Desk) -> None:
    for _ in range(3):
        desk.says(desk.answer(), "NEG")
    first, *_ = records = desk.unpublished(10)
    assert len(records) == 3
    assert json.loads(first.value)["model_version"] == LIVE.version
    assert json.loads(first.value)["event_id"] == first.event_id
    desk.store.publish([first.event_id])
    assert [each.event_id for each in desk.unpublished(10)] == [r.event_id for r in records[1:]]
