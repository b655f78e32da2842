"""Routes of files: upload, download with ETag and ranges, delete. Streamed both ways."""

import time
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import FileResponse
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException

from registry.api.dependencies import ANONYMOUS, PREFIX, Actor, Backend, Name, Reference
from registry.api.schemas import Answer, utc
from registry.backend.tags import SIZE_TAG
from registry.catalog.uploads import StoredUpload
from registry.errors import InvalidValue

_UPLOAD: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "format"],
                    "additionalProperties": False,
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "format": {
                            "type": "string",
                            "enum": ["bundle", "onnx", "safetensors", "h5", "pb"],
                        },
                    },
                }
            }
        },
    }
}
IfNoneMatch = Annotated[str | None, Header(alias="If-None-Match", max_length=1_000)]


class ArtifactBody(Answer):
    """Files that were stored."""

    artifact_path: str
    size: int
    format: str
    sha256: str = Field(description="Digest of the bundle, or of the single file.")
    uploaded_at: datetime


def artifact_routes(backend: Backend) -> APIRouter:
    """The routes of files."""
    api = APIRouter(prefix=f"{PREFIX}/{{model_id}}/versions/{{version}}")
    uploads = backend.uploads

    @api.post("/artifact", openapi_extra=_UPLOAD)
    async def upload_artifact(
        model_id: Name, version: Reference, request: Request, actor: Actor = ANONYMOUS
    ) -> ArtifactBody:
        """Stores a version's files, once: a zip of a bundle, or a single model file.

        Pickle-based formats get 415 with the reason and what to use instead.
        """
        found = await run_in_threadpool(backend.find, model_id, version)
        try:
            async with request.form(max_files=1, max_fields=1, max_part_size=1_024) as form:
                file, kind = form.get("file"), form.get("format")
                if not isinstance(file, UploadFile) or not isinstance(kind, str):
                    raise InvalidValue("multipart fields `file` and `format` are required")
                stored = await run_in_threadpool(
                    uploads.put_stream, found, kind, file.file, actor=actor
                )
        except MultiPartException as error:
            raise InvalidValue(f"the form cannot be read: {error.message}") from error
        return ArtifactBody(
            artifact_path=f"{PREFIX}/{model_id}/versions/{stored.version}/artifact",
            size=int(stored.tags[SIZE_TAG]),
            format=kind,
            sha256=stored.digest,
            uploaded_at=utc(time.time()),
        )

    @api.get("/artifact", response_class=Response)
    def download_artifact(
        model_id: Name, version: Reference, if_none_match: IfNoneMatch = None
    ) -> Response:
        """All files as one, with `ETag`; `Range` is understood."""
        return _answer(uploads.whole(backend.find(model_id, version)), if_none_match)

    @api.get("/artifact/{path:path}", response_class=Response)
    def download_artifact_file(
        model_id: Name, version: Reference, path: str, if_none_match: IfNoneMatch = None
    ) -> Response:
        """One file of a bundle by its name in it."""
        return _answer(uploads.file(backend.find(model_id, version), path), if_none_match)

    @api.delete("/artifact", status_code=204)
    def delete_artifact(model_id: Name, version: Reference, actor: Actor = ANONYMOUS) -> None:
        """Deletes a draft's files; later stages keep theirs."""
        uploads.delete(backend.find(model_id, version), actor=actor)

    return api


def _answer(stored: StoredUpload, if_none_match: str | None) -> Response:
    etag = f'"{stored.sha256}"'
    headers = {"ETag": etag, "Cache-Control": "private, max-age=31536000, immutable"}
    asked = {tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")}
    if etag in asked or "*" in asked:
        return Response(status_code=304, headers=headers)
    name = quote(stored.name)
    headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{name}"
    return FileResponse(stored.path, media_type="application/octet-stream", headers=headers)
