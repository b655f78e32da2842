"""What a FastAPI route takes as a JSON body: Python's reader takes more than any writer can send.

``inference/validation.py`` reads the bodies of the routes outside FastAPI; its reader is strict.
"""

from collections.abc import Mapping

from fastapi import Depends, Request

from deployments.errors import InvalidInput
from registry.plain_json import json_problem

# Texts are kept as JSON, and a NUL may be classified.
_TEXTS = ("text", "texts")


async def _check_body(request: Request) -> None:
    """Refuses lone surrogates, NaN, infinity, integers above 64 bits and deep nesting; and NUL, but
    in texts to be classified: PostgreSQL keeps none in what is stored or asked by.

    Raises:
        InvalidInput: The body has one of these, by its first field.
    """
    for name, value in (*request.path_params.items(), *request.query_params.items()):
        if "\0" in name or "\0" in str(value):
            raise InvalidInput(f"{name[:200]}: text has a NUL")
    # FastAPI has read it, if the route takes one and it is JSON.
    body = getattr(request, "_json", None)
    fields = body if isinstance(body, Mapping) and not json_problem([*body]) else {"body": body}
    for name, value in fields.items():
        if problem := json_problem(value, nul=name in _TEXTS):
            raise InvalidInput(f"{name[:200]}: {problem}")


PLAIN_BODY = Depends(_check_body)
"""For ``FastAPI(dependencies=…)``."""
