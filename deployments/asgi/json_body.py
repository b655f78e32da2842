"""What a FastAPI route takes as a JSON body: Python's reader takes more than any writer can send.

``inference/validation.py`` reads the bodies of the routes outside FastAPI; its reader is strict.
"""

from collections.abc import Mapping

from fastapi import Depends, Request

from deployments.errors import InvalidInput
from registry.plain_json import json_problem


async def _check_body(request: Request) -> None:
    """Refuses lone surrogates, NaN, infinity, integers above 64 bits and deep nesting.

    Raises:
        InvalidInput: The body has one of these, by its first field.
    """
    # FastAPI has read it, if the route takes one and it is JSON.
    body = getattr(request, "_json", None)
    fields = body if isinstance(body, Mapping) and not json_problem([*body]) else {"body": body}
    for name, value in fields.items():
        if problem := json_problem(value):
            raise InvalidInput(f"{name[:200]}: {problem}")


PLAIN_BODY = Depends(_check_body)
"""For ``FastAPI(dependencies=…)``."""
