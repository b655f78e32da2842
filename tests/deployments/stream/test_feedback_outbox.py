"""Kept feedback reaches its topic; what fails on the way waits and is written again."""

import asyncio
from collections.abc import Sequence

from configs.schema.stream import StreamConfig
from deployments.payloads import FeedbackRecord
from deployments.stream.feedback_outbox import FeedbackOutbox
from deployments.stream.messages import Outgoing
from deployments.stream.producer import Answers


class Insight:
    def __init__(self, n: int) -> None:
        self.records = [FeedbackRecord(f"e{i}", f"p{i}", b"{}") for i in range(n)]

    async def unpublished(self, most: int) -> list[FeedbackRecord]:
        return self.records[:most]

    async def published(self, event_ids: Sequence[str]) -> None:
        self.records = [each for each in self.records if each.event_id not in event_ids]


class Kafka:
    def __init__(self) -> None:
        self.refuses = {b"p1"}
        self.sent: list[Outgoing] = []

    async def send(self, records: Sequence[Outgoing]) -> Answers:
        taken = [each for each in records if each.key not in self.refuses]
        self.sent += taken
        return [None if each in taken else OSError("away") for each in records]


def test_what_the_topic_took_is_never_sent_again_and_the_rest_is() -> None:
    insight, kafka = Insight(3), Kafka()
    topic = StreamConfig(feedback_topic="words").feedback_topic
    outbox = FeedbackOutbox(topic, kafka.send, insight)
    assert asyncio.run(outbox.write()) == 2
    assert [each.event_id for each in insight.records] == ["e1"]
    kafka.refuses = set()
    assert asyncio.run(outbox.write()) == 1
    assert [(each.topic, each.key) for each in kafka.sent] == [
        ("words", b"p0"),
        ("words", b"p2"),
        ("words", b"p1"),
    ]
    assert asyncio.run(outbox.write()) == 0
