"""``DELETE /cache/{digest}``: forgets what is remembered of one model version."""

from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from deployments.schemas import ErrorBody
from deployments.service import Service


class FlushedEntries(BaseModel):
    """Answer to `DELETE /cache/{digest}`."""

    l1_entries: int = Field(ge=0, description="Removed from the memory of the ingress replicas.")
    l2_entries: int = Field(ge=0, description="Removed from the shared cache.")


def cache_routes(prefix: str, service: Service) -> APIRouter:
    """The route; it needs the role `admin`."""
    api = APIRouter(prefix=prefix, tags=["cache"])
    unready: dict[int | str, dict[str, Any]] = {503: {"model": ErrorBody}}
    digest_of_bundle = Path(pattern="^[0-9a-f]{64}$", description="`model_digest` of its answers.")

    @api.delete("/cache/{digest}", responses=unready)
    async def flush(digest: Annotated[str, digest_of_bundle]) -> FlushedEntries:
        """Forgets every remembered prediction of one bundle; the model answers again."""
        flushed = await service.flush(digest)
        return FlushedEntries(l1_entries=flushed.l1_entries, l2_entries=flushed.l2_entries)

    return api
