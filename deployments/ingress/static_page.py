"""A page from files of this package, under a strict Content-Security-Policy.

Nothing is loaded from another host, and no file but those that are listed is served.
"""

from collections.abc import Mapping
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, RedirectResponse

from deployments.errors import NotFound

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
}


def static_page(prefix: str, folder: Path, index: str, headers: Mapping[str, str]) -> APIRouter:
    """The page at ``prefix`` and its files below it; none is in the OpenAPI document.

    Args:
        prefix: Path of the page.
        folder: Its files; those whose kind is not that of a page are not served.
        index: Name of the page itself.
        headers: Of each answer.
    """
    api = APIRouter(prefix=prefix, include_in_schema=False)
    files = {
        path.relative_to(folder).as_posix(): path
        for path in folder.rglob("*")
        if path.suffix in _TYPES and path.is_file()
    }

    def answer(path: Path) -> FileResponse:
        return FileResponse(path, media_type=_TYPES[path.suffix], headers=headers)

    @api.get("")
    async def page() -> FileResponse:
        """The page."""
        return answer(files[index])

    @api.get("/")
    async def page_with_slash() -> RedirectResponse:
        """The page's own address: its files are named from there. No host is named."""
        to = f"../{prefix.rpartition('/')[2]}"
        return RedirectResponse(to, status_code=308, headers=dict(headers))

    @api.get("/{name:path}")
    async def page_file(name: str) -> FileResponse:
        """A script or style of the page.

        Raises:
            NotFound: It has no such file.
        """
        if name not in files:
            raise NotFound("the page has no such file")
        return answer(files[name])

    return api
