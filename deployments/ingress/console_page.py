"""The console: a page that calls the public API and nothing else; its files are in ``console``."""

from fastapi import APIRouter

from console import ASSETS
from deployments.ingress.static_page import static_page

CONSOLE = "/console"
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'"
    ),
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def console_routes() -> APIRouter:
    """The page at ``/console`` and its files below it."""
    return static_page(CONSOLE, ASSETS, "index.html", HEADERS)
