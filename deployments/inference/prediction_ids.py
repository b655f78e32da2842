"""Prediction ids that say what they name: UUIDs of version 8 (RFC 9562), signed. Pure.

    time 42 bits | version 10 | label 8 | score 6 | noise 28 | signature 28      and 6 fixed

Any replica tells a made-up id from a real one, and knows when, by which version and with which
label it was answered, without having kept anything. The bundle's digest is signed too: two models
have versions of the same number. The signature is short: guessing one takes 268 million tries by
the number of bundles that have answered here, and every try is a request.
"""

import hashlib
import os
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from configs.schema.feedback import FeedbackConfig

_VERSIONS = 1 << 10
_LABELS = 1 << 8
_SCORES = (1 << 6) - 1
_NOISE = 1 << 28
_SIGNATURE_BITS = 28
_LOW = (1 << 62) - 1

Model = tuple[str, int]
"""Digest of the bundle and number of the version that answered."""


@dataclass(frozen=True, slots=True)
class PredictionId:
    """What an id says.

    Attributes:
        at_s: When it was made, in Unix time.
        version: The model's version number, modulo ``VERSIONS``.
        label: Position of the label; the last one of those that fit for any beyond.
        score: Its probability, to 1/63; of a value the nearest number between 0 and 1.
        digest: Of the bundle; empty for an id of release 0.1, which did not sign it.
    """

    at_s: float
    version: int
    label: int
    score: float
    digest: str

    def is_of(self, digest: str, version: int) -> bool:
        """Whether that version of that bundle has answered, or may have."""
        if self.digest:
            return digest == self.digest
        return version % _VERSIONS == self.version


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a text came from that may come again.

    Attributes:
        at_ms: When it was sent, in Unix time.
        id: The sender's name for it.
    """

    at_ms: int
    id: str


class PredictionIds:
    """Makes and reads ids. Safe to share."""

    def __init__(self, key: str, *old_keys: str) -> None:
        """Takes keys of any length; the first signs, all are accepted."""
        self._keys = [_key_bytes(key), *(_key_bytes(old) for old in old_keys if old)]
        # A counter that starts anywhere: within a replica no two ids of a millisecond are equal.
        self._noise = int.from_bytes(os.urandom(4), "big")

    def make(self, model: Model, label: int, score: float) -> str:
        """A new id."""
        self._noise += 1
        at_ms = time.time_ns() // 1_000_000
        return self._signed(at_ms, model, label, score, self._noise)

    def repeatable(
        self, at_ms: int, content: Sequence[str], model: Model, label: int, score: float
    ) -> str:
        """The same id for the same arguments, whenever it is made."""
        hashed = hashlib.blake2b(digest_size=4)
        for part in content:
            hashed.update(part.encode("utf-8", "surrogatepass") + b"\0")
        noise = int.from_bytes(hashed.digest(), "big")
        return self._signed(at_ms, model, label, score, noise)

    def read(self, number: str, digests: Iterable[str]) -> PredictionId | None:
        """What an id says; None when it was not made here.

        Args:
            number: The id.
            digests: Of the bundles that may have answered.
        """
        try:
            value = uuid.UUID(number).int
        except ValueError:
            return None
        if value >> 76 & 15 != 8 or value >> 62 & 3 != 2:
            return None
        whole = value >> 80 << 74 | (value >> 64 & 0xFFF) << 62 | value & _LOW
        body, signature = divmod(whole, 1 << _SIGNATURE_BITS)
        known = ((key, digest) for digest in (*digests, "") for key in self._keys)
        signed = (digest for key, digest in known if _signature(key, body, digest) == signature)
        digest = next(signed, None)
        if digest is None:
            return None
        return PredictionId(
            at_s=(body >> 52) / 1_000,
            version=body >> 42 & _VERSIONS - 1,
            label=body >> 34 & _LABELS - 1,
            score=(body >> 28 & _SCORES) / _SCORES,
            digest=digest,
        )

    def _signed(self, at_ms: int, model: Model, label: int, score: float, noise: int) -> str:
        digest, version = model
        body = (
            (at_ms & (1 << 42) - 1) << 52
            | version % _VERSIONS << 42
            | min(label, _LABELS - 1) << 34
            | round(min(max(score, 0.0), 1.0) * _SCORES) << 28
            | noise % _NOISE
        )
        whole = body << _SIGNATURE_BITS | _signature(self._keys[0], body, digest)
        high, middle = whole >> 74 << 80, (whole >> 62 & 0xFFF) << 64
        text = f"{high | 8 << 76 | middle | 2 << 62 | whole & _LOW:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def prediction_ids(config: FeedbackConfig) -> PredictionIds:
    """With the keys of the configuration."""
    return PredictionIds(config.id_key.get_secret_value(), config.old_id_key.get_secret_value())


def _key_bytes(key: str) -> bytes:
    # A key of any length, in the 64 bytes that BLAKE2 takes.
    return hashlib.blake2b(b"prediction ids\0" + key.encode()).digest()


def _signature(key: bytes, body: int, digest: str) -> int:
    content = body.to_bytes(12, "big") + digest.encode()
    signed = hashlib.blake2b(content, digest_size=4, key=key).digest()
    return int.from_bytes(signed, "big") >> 4
