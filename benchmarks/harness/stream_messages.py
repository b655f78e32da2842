"""The messages that the stream benchmark sends, and what must have become of each. Pure."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

# Ways of being no request; in turn.
MALFORMED: tuple[bytes | None, ...] = (
    b'{"id": "broken", "text": ',
    b'{"text": "nobody asked for this"}',
    b'{"id": "blank", "text": "  \\n "}',
    b'{"id": 7, "text": "an id that is a number"}',
    b"\xff\xfe not UTF-8",
    b'["a list"]',
    None,
    json.dumps({"id": "long", "text": "x" * 10_001}).encode(),
)


@dataclass(frozen=True, slots=True)
class Sent:
    """One message. ``id`` is None where it is malformed."""

    key: bytes
    value: bytes | None
    id: str | None


def messages(
    texts: Sequence[str], count: int, malformed_every: int, *, prefix: str = "m"
) -> Iterator[Sent]:
    """``count`` messages; every ``malformed_every``-th is malformed; texts repeat in turn."""
    for i in range(count):
        name = f"{prefix}-{i:07d}"
        if malformed_every and i % malformed_every == malformed_every - 1:
            bad = MALFORMED[i // malformed_every % len(MALFORMED)]
            yield Sent(name.encode(), bad, None)
        else:
            value = json.dumps({"id": name, "text": texts[i % len(texts)], "source": "benchmark"})
            yield Sent(name.encode(), value.encode(), name)


@dataclass(slots=True)
class Ledger:
    """What came back: results by message id, dead letters by key.

    A result is known by its ``prediction_id`` and label. Repeated ones are equal beyond that,
    but for the sixth decimal of a score: a batch of another shape adds up in another order.

    Attributes:
        values: All different results of each id.
        contents: All different values of each id, byte for byte.
        dead: Keys of the dead letters.
        results: How many results there are, repeated ones included.
        letters: How many dead letters there are, repeated ones included.
    """

    values: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    contents: dict[str, set[bytes]] = field(default_factory=dict)
    dead: set[bytes] = field(default_factory=set)
    results: int = 0
    letters: int = 0

    def result(self, key: bytes, value: bytes) -> None:
        """Notes a message of the responses topic."""
        self.results += 1
        name, content = key.decode(), json.loads(value)
        self.values.setdefault(name, set()).add((content["prediction_id"], content["label"]))
        self.contents.setdefault(name, set()).add(value)

    def letter(self, key: bytes) -> None:
        """Notes a message of the dead letters' topic."""
        self.letters += 1
        self.dead.add(key)

    @property
    def settled(self) -> int:
        """Messages with a result or a dead letter."""
        return len(self.values) + len(self.dead)

    def verdict(self, sent: Iterable[Sent]) -> Mapping[str, int]:
        """Counts over all messages; all of the last four are 0 if nothing went wrong."""
        valid: set[str] = set()
        malformed: set[bytes] = set()
        for message in sent:
            if message.id is None:
                malformed.add(message.key)
            else:
                valid.add(message.id)
        return {
            "valid": len(valid),
            "malformed": len(malformed),
            "results": self.results,
            "repeated_results": self.results - len(self.values),
            "repeated_with_other_decimals": sum(len(c) > 1 for c in self.contents.values()),
            "dead_letters": self.letters,
            "repeated_dead_letters": self.letters - len(self.dead),
            "lost": len(valid - self.values.keys()) + len(malformed - self.dead),
            "several_different_results": sum(len(found) > 1 for found in self.values.values()),
            "valid_in_dead_letters": len(self.dead - malformed),
            "results_nobody_asked_for": len(self.values.keys() - valid),
        }


def is_right(verdict: Mapping[str, int]) -> bool:
    """Whether every valid message has one distinct result and every malformed one a letter."""
    wrong = ("lost", "several_different_results", "valid_in_dead_letters")
    return not any(verdict[name] for name in (*wrong, "results_nobody_asked_for"))
