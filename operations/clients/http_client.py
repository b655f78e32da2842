"""HTTP clients of other servers, with the certificates and proxies of this machine."""

import ssl
from urllib.parse import urlsplit

import httpx

LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
_ANSWER_S = 2.0


def open_client(url: str, headers: dict[str, str], timeout_s: float) -> httpx.Client:
    """A client of the server at ``url``.

    No connection outlives its answer, so it need not be closed. It trusts the system's
    certificates. Proxies that the environment names are used, except for
    addresses of this machine, which no proxy can reach.
    """
    return httpx.Client(
        headers=headers,
        timeout=timeout_s,
        limits=httpx.Limits(max_keepalive_connections=0),
        follow_redirects=True,
        trust_env=urlsplit(url).hostname not in LOCAL_HOSTS,
        verify=ssl.create_default_context(),
    )


def fetch(url: str, timeout_s: float) -> httpx.Response | None:
    """The answer to one GET, whatever its status; None when there is none."""
    try:
        with open_client(url, {}, timeout_s) as client:
            return client.get(url)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return None


def answers(url: str) -> bool:
    """Whether ``url`` answers 200 within two seconds."""
    found = fetch(url, _ANSWER_S)
    return found is not None and found.status_code == 200
