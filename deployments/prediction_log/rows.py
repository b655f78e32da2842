"""One prediction as one row: its columns, and how much of the text it keeps.

The schema only grows: a column is never renamed, retyped or removed, new ones may be null.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import orjson

from configs.schema.prediction_log import PredictionLogConfig
from deployments.predictions import Outcome
from deployments.versions import BACKENDS, ServedVersion

# Every pattern takes time linear in the text's length: the interpreter holds its lock meanwhile.
_URL = re.compile(r"\b(?:https?://|www\.)\S+", re.IGNORECASE)
_WORD_WITH_ADDRESSES = re.compile(r"(?<![\w.+\-@])[\w.+\-@]+")
_DOMAIN = re.compile(r"[\w\-]+(?:\.[\w\-]+)+")
_USER = re.compile(r"(?<!\w)@\w+")
# Phone, card and account numbers: six digits or more, with separators in between.
_NUMBER = re.compile(r"\+?\d(?:[\s\-./()]{0,2}\d){5,}")


Source = Literal["http", "kafka", "job"]
"""The way that a text came."""


@dataclass(frozen=True, slots=True)
class LoggedAnswer:
    """A prediction that was returned."""

    at_ns: int
    prediction_id: str
    source: Source
    text: str
    model: ServedVersion
    outcome: Outcome
    label: str
    scores: dict[str, float]


def text_policy(config: PredictionLogConfig) -> Callable[[str], str | None]:
    """The text as it is logged."""
    if config.text == "none":
        return lambda text: None
    if config.text == "plain":
        return lambda text: text
    if config.text == "redacted":
        return redacted
    # A key of any length, in the 64 bytes that BLAKE2 takes.
    key = hashlib.blake2b(config.hash_key.get_secret_value().encode()).digest()
    keyed = key if config.hash_key.get_secret_value() else b""

    def digest(text: str) -> str:
        content = text.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(content, digest_size=32, key=keyed).hexdigest()

    return digest


def redacted(text: str) -> str:
    """Returns the text without addresses, @names and long numbers. Names of people stay."""
    # Addresses before the names and numbers in them.
    text = _URL.sub("<url>", text)
    if "@" in text:
        text = _USER.sub("<user>", _WORD_WITH_ADDRESSES.sub(_without_emails, text))
    return _NUMBER.sub("<number>", text)


def _without_emails(word: re.Match[str]) -> str:
    before, *after = word[0].split("@")
    kept = []
    for part in after:
        domain = _DOMAIN.match(part) if before else None
        if domain is None:
            kept.append(f"{before}@")
            before = part
        else:
            kept.append("<email>")
            before = part[domain.end() :]
    return "".join([*kept, before])


class RowWriter:
    """Turns predictions into lines of JSON, which ``parquet.py`` reads by the same names."""

    def __init__(self, config: PredictionLogConfig, app_version: str, environment: str) -> None:
        self._text = text_policy(config)
        self._policy = config.text
        self._app_version = app_version
        self._environment = environment

    def line(self, answered: LoggedAnswer) -> bytes:
        """One line, with its end."""
        model, outcome = answered.model, answered.outcome
        row = {
            "timestamp_us": answered.at_ns // 1_000,
            "prediction_id": answered.prediction_id,
            "source": answered.source,
            "text": self._text(answered.text),
            "text_policy": self._policy,
            "text_length": len(answered.text),
            "n_tokens": outcome.prediction.n_tokens,
            "truncated": outcome.prediction.truncated,
            "label": answered.label,
            "score": answered.scores[answered.label],
            "labels": list(answered.scores),
            "scores": list(answered.scores.values()),
            "inference_time_ms": round(outcome.stages_s.get("infer", 0.0) * 1_000, 3),
            "model_name": model.name,
            "model_version": model.version,
            "model_digest": model.digest,
            "backend": BACKENDS[model.kind],
            "cached": outcome.cached,
            "app_version": self._app_version,
            "environment": self._environment,
        }
        return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
