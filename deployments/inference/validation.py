"""What a request must look like before its texts are classified."""

from collections.abc import Sequence
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from configs.schema.app import LimitsConfig
from deployments.errors import (
    BatchTooLarge,
    EmptyBatch,
    InvalidInput,
    MalformedBody,
    TextEmpty,
    TextTooLong,
)

_Body = TypeVar("_Body", bound=BaseModel)


def parse(model: type[_Body], body: bytes) -> _Body:
    """Validates a JSON body; messages name fields and limits, never the content.

    Raises:
        MalformedBody: Not UTF-8 or not JSON.
        InvalidInput: JSON of the wrong shape.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as invalid:
        # A wrong body may be wrong in thousands of places; the first few say enough.
        errors = invalid.errors(include_url=False, include_context=False, include_input=False)[:5]
        if errors[0]["type"] == "json_invalid":
            problem = "not valid UTF-8 JSON" if body else "empty"
            raise MalformedBody(f"the body is {problem}; send a JSON object") from None
        raise refusal(errors) from None


def refusal(errors: Sequence[ErrorDetails]) -> InvalidInput:
    """What is wrong, by field and limit."""
    problems = [
        {"field": ".".join(map(str, e["loc"]))[:200] or "body", "problem": e["msg"]} for e in errors
    ]
    message = "; ".join(f"{p['field']}: {p['problem']}" for p in problems)
    return InvalidInput(message, {"problems": problems})


def checked_text(text: str, max_text_chars: int) -> str:
    """The text without white space around.

    Raises:
        TextTooLong: More than ``max_text_chars``, white space included.
        TextEmpty: Nothing but white space.
    """
    if len(text) > max_text_chars:
        raise TextTooLong(
            f"the text has {len(text)} characters, at most {max_text_chars} are allowed",
            {"field": "text", "max_text_chars": max_text_chars},
        )
    stripped = text.strip()
    if not stripped:
        raise TextEmpty("the text is empty or only white space", {"field": "text"})
    return stripped


def check_count(texts: Sequence[str], limits: LimitsConfig) -> None:
    """Checks how many texts one request carries.

    Raises:
        EmptyBatch: None.
        BatchTooLarge: More than ``max_batch_texts``.
    """
    if not texts:
        raise EmptyBatch("texts is empty; send at least one text", {"field": "texts"})
    if len(texts) > limits.max_batch_texts:
        raise BatchTooLarge(
            f"{len(texts)} texts are more than the {limits.max_batch_texts} "
            "that one request may carry",
            {"field": "texts", "max_batch_texts": limits.max_batch_texts},
        )
