"""What a request must look like before its texts are classified."""

from collections.abc import Sequence
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from deployments.errors import InvalidInput, MalformedBody

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
