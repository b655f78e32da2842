"""Which registered model a request means: the served one, unless it names another."""

import asyncio
from collections.abc import Callable
from typing import Annotated

from fastapi import Query

ModelName = Annotated[
    str | None,
    Query(max_length=255, description="The registered model; the one that is served by default."),
]


async def named(model: str | None, served: str, check: Callable[[str], None]) -> str:
    """The model's name; ``check`` refuses one that is not the served one, and may block."""
    if model is None or model == served:
        return served
    await asyncio.to_thread(check, model)
    return model
