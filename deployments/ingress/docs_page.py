"""The documentation page: Swagger UI from this package, under a strict Content-Security-Policy.

``assets/swagger-ui.lock`` has the version and the digests of the vendored files; ``make assets``
renews them. Nothing is loaded from another host.
"""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

from deployments.errors import NotFound

ASSETS = Path(__file__).with_name("assets")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'"
)
_TYPES = {
    "docs.html": "text/html; charset=utf-8",
    "init.js": "text/javascript; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
}


def docs_routes(path: str) -> APIRouter:
    """The page at ``path`` and its files below it; none is in the OpenAPI document."""
    api = APIRouter(prefix=path, include_in_schema=False)

    @api.get("")
    async def docs() -> FileResponse:
        """The page."""
        return _file("docs.html")

    @api.get("/{name}")
    async def docs_asset(name: str) -> FileResponse:
        """A script or style of the page.

        Raises:
            NotFound: It has no such file.
        """
        if name not in _TYPES:
            raise NotFound("the documentation page has no such file")
        return _file(name)

    return api


def _file(name: str) -> FileResponse:
    headers = {"Content-Security-Policy": POLICY}
    return FileResponse(ASSETS / name, media_type=_TYPES[name], headers=headers)
