"""The documentation page: Swagger UI from this package.

``assets/swagger-ui.lock`` has the version and the digests of the vendored files; ``make assets``
renews them.
"""

from pathlib import Path

from fastapi import APIRouter

from deployments.ingress.static_page import static_page

ASSETS = Path(__file__).with_name("assets")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'"
)


def docs_routes(path: str) -> APIRouter:
    """The page at ``path`` and its files below it."""
    return static_page(path, ASSETS, "docs.html", {"Content-Security-Policy": POLICY})
