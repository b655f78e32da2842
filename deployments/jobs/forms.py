"""The multipart form of an uploaded file: what it may have, and how it is read."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from fastapi import Request
from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException

from deployments.errors import InvalidInput
from deployments.jobs.schemas import WEB_ADDRESS, JobRequest

_MAX_PREFIX_CHARS = 100
_FIELDS = ("priority", "max_batch_size", "timeout_seconds", "webhook_url")
UPLOAD: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "additionalProperties": False,
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "text_column": {"type": "string", "default": "text"},
                        "prefix": {
                            "type": "string",
                            "default": "",
                            "maxLength": _MAX_PREFIX_CHARS,
                            "description": "Before the names of what is added to a row.",
                        },
                        "priority": {"type": "string", "enum": ["high", "medium", "low"]},
                        "max_batch_size": {"type": "integer", "minimum": 1, "maximum": 1_000},
                        "timeout_seconds": {"type": "integer", "minimum": 10, "maximum": 604_800},
                        "webhook_url": {"type": "string", "maxLength": 2_000, **WEB_ADDRESS},
                    },
                }
            }
        },
    }
}


@dataclass(frozen=True, slots=True)
class UploadForm:
    """A form that was read.

    Attributes:
        file: From its start.
        filename: As the caller named it.
        column: Column or field of the text.
        prefix: Before the names of what is added to its rows.
        body: What a JSON body would have besides texts.
    """

    file: BinaryIO
    filename: str
    column: str
    prefix: str
    body: JobRequest


@asynccontextmanager
async def upload_form(request: Request) -> AsyncIterator[UploadForm]:
    """The request's form; its file is deleted with the block.

    Raises:
        InvalidInput: There is no file, or a field is not a possible one.
    """
    try:
        form = await request.form(max_files=1, max_fields=8, max_part_size=4_096)
    except MultiPartException as error:
        raise InvalidInput(f"the form cannot be read: {error.message}") from error
    try:
        file, column, prefix = (
            form.get("file"),
            form.get("text_column", "text"),
            form.get("prefix", ""),
        )
        if not isinstance(file, UploadFile) or not isinstance(column, str):
            raise InvalidInput("the multipart field `file` is required", {"field": "file"})
        if "\0" in column:
            raise InvalidInput("text_column has a NUL", {"field": "text_column"})
        if not isinstance(prefix, str) or len(prefix) > _MAX_PREFIX_CHARS or "\0" in prefix:
            raise InvalidInput(
                f"prefix is a text without NUL of at most {_MAX_PREFIX_CHARS} characters",
                {"field": "prefix"},
            )
        asked = {name: form[name] for name in _FIELDS if name in form}
        yield UploadForm(file.file, file.filename or "", column, prefix, _form(asked))
    finally:
        await form.close()


def _form(asked: dict[str, Any]) -> JobRequest:
    """The form's fields, checked as those of a JSON body; all of them came as text."""
    try:
        return JobRequest.model_validate({"texts": ["-"], **asked}, strict=False)
    except ValidationError as error:
        names = ", ".join(sorted({str(item["loc"][0]) for item in error.errors()}))
        raise InvalidInput(f"not a possible value: {names}", {"field": names}) from None
