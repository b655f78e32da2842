"""Messages, dead letters, offsets and pauses: all that needs neither broker nor Ray."""

import json
import random
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from front import LIVE
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from kafka.errors import CorruptRecordError
from kafka.record.default_records import (
    DefaultRecord,
    DefaultRecordBatch,
    DefaultRecordBatchBuilder,
)

from benchmarks.harness.stream_messages import MALFORMED, Ledger, is_right, messages
from configs.schema.app import LimitsConfig
from deployments.clients.backoff import Backoff
from deployments.errors import InvalidInput, RequestError
from deployments.inference.prediction_ids import PredictionIds
from deployments.inference.validation import checked_text
from deployments.predictions import Answer, Outcome, Prediction, rounded_scores
from deployments.stream.client_patches import AnyNames
from deployments.stream.dead_letters import (
    REDRIVES,
    DeadLetter,
    NotADeadLetter,
    dead_letter,
    header,
    read_letter,
    restored,
    without_content,
)
from deployments.stream.messages import (
    Message,
    StreamRequest,
    StreamResult,
    read_request,
    result,
)
from deployments.stream.offsets import PartitionOffsets, read_message

SCHEMAS = Path(__file__).parents[3] / "docs" / "schemas"
LIMITS = LimitsConfig()
NOW = datetime(2026, 11, 23, tzinfo=UTC)
PREDICTION = Prediction(np.array([0.25, 0.75], dtype=np.float32), 5, False)
ERROR = InvalidInput("id: Field required")


def check(text: str) -> str:
    return checked_text(text, LIMITS.max_text_chars)


def answered(request: StreamRequest) -> tuple[StreamRequest, Answer]:
    """The request with its answer, as ``result`` takes them."""
    number = PredictionIds("").repeatable(
        1_000, (request.id, request.text, LIVE.digest), (LIVE.digest, LIVE.version), 1, 0.75
    )
    label, scores = rounded_scores(LIVE.labels, PREDICTION.scores.tolist())
    outcome = Outcome(PREDICTION, cached=False)
    return request, Answer(number, request.text, LIVE, outcome, label, scores)


def message(value: bytes | None, **more: object) -> Message:
    given = {"topic": "requests", "partition": 3, "offset": 41, "timestamp_ms": 1_000, "key": b"k"}
    return Message(value=value, **(given | more))  # type: ignore[arg-type]


@given(st.data())
def test_only_a_gapless_beginning_is_ever_committed(data: st.DataObject) -> None:
    progress = PartitionOffsets()
    offsets = sorted(data.draw(st.sets(st.integers(0, 200), min_size=1)))
    waiting, done, committed = list(offsets), set(), -1
    order = data.draw(st.permutations(offsets))
    for offset in order:
        while waiting and waiting[0] <= offset:
            assert progress.read(waiting.pop(0))
        progress.acknowledge(offset)
        done.add(offset)
        position = progress.to_commit
        if position is not None:
            assert {o for o in offsets if o < position} <= done
            assert position > committed
            progress.committed = committed = position
    assert committed == offsets[-1] + 1
    assert progress.unfinished == offsets[-1] + 1


def test_a_partition_that_goes_back_is_told_apart() -> None:
    progress = PartitionOffsets()
    assert progress.unfinished is None
    assert progress.read(5)
    assert progress.unfinished == 5
    assert progress.to_commit is None
    assert not progress.read(5)
    assert not progress.read(2)


def test_pauses_double_up_to_a_bound() -> None:
    longest = Backoff(100, 1_000, lambda: 1.0)
    assert [longest.pause_s(n) for n in (1, 2, 3, 4, 5, 5_000)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert Backoff(100, 1_000, lambda: 0.0).pause_s(1) == 0.05


@pytest.mark.parametrize("value", MALFORMED)
def test_what_is_no_request_is_refused_without_its_content(value: bytes | None) -> None:
    with pytest.raises(RequestError) as refused:
        read_request(message(value), check)
    assert refused.value.code in ("E1001", "E1002", "E1003")
    assert "nobody" not in refused.value.message


def test_a_result_says_nothing_of_when_or_by_whom() -> None:
    sent = message(
        b'{"id": "a-1", "text": "  fine  ", "source": "shop", "priority": 3}',
        headers=(("traceparent", b"00-ab-cd-01"), ("private", b"x")),
    )
    request = read_request(sent, check)
    assert request.text == "fine"
    first = result("responses", sent, *answered(request))
    again = message(sent.value, partition=3, offset=99)
    assert result("responses", again, *answered(request)).value == first.value
    assert first.key == b"a-1"
    headers = dict(first.headers)
    assert headers["traceparent"] == b"00-ab-cd-01"
    assert headers["model-version"] == b"3"
    assert headers["origin"] == b"requests:3:41"
    assert "private" not in headers
    other = read_request(message(b'{"id": "a-2", "text": "fine"}'), check)
    second = json.loads(result("responses", sent, *answered(other)).value)
    assert second["prediction_id"] != json.loads(first.value)["prediction_id"]


@pytest.mark.parametrize(
    "value", [b'{"id": "a"}', "g\u00fcnstig".encode(), b"\xff\x00\xfe", b"", None]
)
def test_a_dead_letter_gives_back_what_came(value: bytes | None) -> None:
    sent = message(value, headers=(("traceparent", b"t"), (REDRIVES, b"2")))
    letter = dead_letter("dead", sent, ERROR, 3, NOW)
    held = Message("dead", 0, 7, 1_000, letter.key, letter.value, letter.headers)
    read = read_letter(held)
    assert read.retry_count == 3
    assert read.error.error_code == "E1001"
    assert (read.metadata.topic, read.metadata.partition, read.metadata.offset) == (
        "requests",
        3,
        41,
    )
    again = restored(held, read)
    if value is None:
        assert again is None
        return
    assert again is not None
    assert (again.topic, again.key, again.value) == ("requests", b"k", value)
    assert header(again.headers, REDRIVES) == b"3"
    assert {name for name, _ in again.headers} == {"traceparent", REDRIVES}


def test_a_letter_too_large_keeps_the_way_to_its_content() -> None:
    letter = dead_letter("dead", message(b"x" * 1_000), ERROR, 0, NOW)
    small = without_content(letter)
    assert len(small.value) < 600
    held = message(small.value)
    assert read_letter(held).omitted_bytes == 1_000
    assert restored(held, read_letter(held)) is None
    assert without_content(small) == small


@pytest.mark.parametrize("timestamp_ms", [-1, 0, 1 << 62])
def test_any_number_may_stand_for_the_time(timestamp_ms: int) -> None:
    letter = dead_letter("dead", message(b"x", timestamp_ms=timestamp_ms), ERROR, 0, NOW)
    assert read_letter(message(letter.value)).metadata.timestamp.year in (1970, 9999)


def test_a_null_header_is_an_empty_one() -> None:
    record = SimpleNamespace(
        topic="t",
        partition=0,
        offset=1,
        timestamp=None,
        key=None,
        value=b"x",
        headers=[("a", None)],
    )
    assert read_message(record).headers == (("a", b""),)


class Bytes(str):
    """A header name that goes into a record as it is in Latin-1."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        return super().encode("latin-1")


@pytest.mark.parametrize("compression", [0, 1])
def test_a_header_name_that_is_no_text_spoils_its_message_alone(compression: int) -> None:
    names = (["fine"], ["fine", Bytes("caf\xe9\xff"), "also"], [])
    built = DefaultRecordBatchBuilder(2, compression, False, -1, -1, -1, 1 << 20)
    for offset, some in enumerate(names):
        headers = [(name, b"v") for name in some] + [("null", None)]
        assert built.append(offset, 1, b"\xff", b'{"id": "\xe2\x82\xac", "text": "a"}', headers)
    bytes_ = bytes(built.build())
    with pytest.raises(CorruptRecordError):
        list(DefaultRecordBatch(bytes_))
    records = list(AnyNames(bytes_))
    read = [read_message(fields_of(record)) for record in records]
    assert [found.legible for found in read] == [True, False, True]
    assert [name for name, _ in read[1].headers] == ["fine", "caf??", "also", "null"]
    assert {found.value for found in read} == {b'{"id": "\xe2\x82\xac", "text": "a"}'}
    assert read_request(read[2], check).id == "\u20ac"
    with pytest.raises(InvalidInput, match="header's name") as refused:
        read_request(read[1], check)
    letter = dead_letter("dead", read[1], refused.value, 0, NOW)
    assert header(letter.headers, "caf??") == b"v"


def fields_of(record: DefaultRecord) -> SimpleNamespace:
    names = ("offset", "timestamp", "key", "value", "headers")
    return SimpleNamespace(
        topic="t", partition=0, **{name: getattr(record, name) for name in names}
    )


def test_a_lone_surrogate_is_malformed() -> None:
    with pytest.raises(RequestError):
        read_request(message(b'{"id": "\\ud800", "text": "fine"}'), check)


def test_other_messages_of_the_topic_are_no_letters() -> None:
    for value in (b"{}", b"hello", None):
        with pytest.raises(NotADeadLetter):
            read_letter(message(value))


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("stream-request", StreamRequest),
        ("stream-result", StreamResult),
        ("dead-letter", DeadLetter),
    ],
)
def test_the_schemas_are_the_documented_ones(name: str, model: type[StreamResult]) -> None:
    written = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    schema = model.model_json_schema(mode="serialization")
    assert written == {"$schema": Draft202012Validator.META_SCHEMA["$id"], **schema}


def test_what_is_written_obeys_the_schemas() -> None:
    sent = message(b'{"id": "a", "text": "fine"}')
    answer = result("r", sent, *answered(read_request(sent, check)))
    letter = dead_letter("dead", message(None), ERROR, 0, NOW)
    for name, record in (("stream-result", answer), ("dead-letter", letter)):
        schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
        Draft202012Validator(schema).validate(json.loads(record.value))


def test_the_benchmark_sees_each_thing_that_can_go_wrong() -> None:
    sent = list(messages(["one", "two"], 300, 10))
    assert sum(m.id is None for m in sent) == 30

    def answer(label: str = "POS", score: float = 0.5, name: str = "p") -> bytes:
        return json.dumps({"prediction_id": name, "label": label, "score": score}).encode()

    def ledger() -> Ledger:
        book = Ledger()
        for m in random.Random(1).sample(sent, len(sent)):
            if m.id is None:
                book.letter(m.key)
            else:
                book.result(m.id.encode(), answer())
        return book

    assert is_right(ledger().verdict(sent))
    repeated = ledger()
    repeated.result(b"m-0000000", answer())
    repeated.result(b"m-0000001", answer(score=0.500_001))
    assert is_right(repeated.verdict(sent))
    assert repeated.verdict(sent)["repeated_results"] == 2
    assert repeated.verdict(sent)["repeated_with_other_decimals"] == 1
    different, lost, buried, strange = ledger(), ledger(), ledger(), ledger()
    flipped = ledger()
    different.result(b"m-0000000", answer(name="q"))
    flipped.result(b"m-0000000", answer("NEG"))
    del lost.values["m-0000000"]
    buried.letter(b"m-0000000")
    strange.result(b"m-9", answer())
    for wrong in (different, flipped, lost, buried, strange):
        assert not is_right(wrong.verdict(sent))
