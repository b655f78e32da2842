"""Ray Serve through the REST interface of its cluster's dashboard: deploy, watch, drain.

Standard library only: importing Ray takes a second and could attach to a foreign cluster.
"""

import contextlib
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.errors import StackError

_DEPLOY_TIMEOUT_S = 120.0
_READ_TIMEOUT_S = 10.0
# Everything here is on this machine: a proxy from the environment would be asked in vain.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an application is.

    Attributes:
        status: Ray Serve's word: ``DEPLOYING``, ``RUNNING``, ``DEPLOY_FAILED``, …
        message: Why, when it failed.
        replicas: Deployment to (running, wanted) replicas.
        problems: Deployment to the last line of its message, where it has an unhappy one.
    """

    status: str
    message: str
    replicas: Mapping[str, tuple[int, int]]
    problems: Mapping[str, str]

    def __str__(self) -> str:
        return ", ".join(f"{n} {up}/{all_}" for n, (up, all_) in self.replicas.items())


class Dashboard:
    """One cluster's dashboard.

    Args:
        url: ``http://host:port``.
        token: Ray's authentication token; empty when the cluster has none.
    """

    def __init__(self, url: str, token: str) -> None:
        self._url = f"{url}/api/serve/applications/"
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def is_up(self) -> bool:
        """Whether it answers yet.

        Raises:
            StackError: It refuses the token.
        """
        try:
            self._call("GET", None, _READ_TIMEOUT_S)
        except OSError:
            return False
        return True

    def deploy(self, config: Mapping[str, object]) -> None:
        """Hands over the content of serve_config.yaml; returns before anything runs.

        Raises:
            StackError: Ray Serve refuses it.
        """
        try:
            self._call("PUT", json.dumps(config).encode(), _DEPLOY_TIMEOUT_S)
        except OSError as error:
            raise StackError(f"Ray Serve did not take the configuration: {error}") from error

    def drain(self, timeout_s: float) -> None:
        """Ends the applications once the requests that they work on are answered."""
        with contextlib.suppress(OSError, StackError):
            self._call("DELETE", None, timeout_s)

    def progress(self, application: str) -> Progress | None:
        """How far it is; None when Ray Serve does not know it yet or does not answer."""
        try:
            details = self._call("GET", None, _READ_TIMEOUT_S)
        except OSError:
            return None
        found = details.get("applications", {}).get(application)
        if found is None:
            return None
        deployments = found.get("deployments", {})
        return Progress(
            status=found["status"],
            message=found.get("message", ""),
            replicas={
                name: (
                    sum(replica["state"] == "RUNNING" for replica in entry["replicas"]),
                    entry.get("target_num_replicas", 1),
                )
                for name, entry in deployments.items()
            },
            problems={
                name: last_line(entry["message"])
                for name, entry in deployments.items()
                if entry.get("message") and "rror" in entry["message"]
            },
        )

    def _call(self, method: str, body: bytes | None, timeout_s: float) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310  (always http)
            self._url,
            data=body,
            method=method,
            headers={**self._headers, "Content-Type": "application/json"},
        )
        try:
            with _direct.open(request, timeout=timeout_s) as response:
                answer: dict[str, Any] = json.loads(response.read() or b"{}")
                return answer
        except urllib.error.HTTPError as error:
            text = error.read().decode("utf-8", "replace")
            if error.code in (401, 403):
                raise StackError(f"the Ray dashboard refuses our token: {text}") from error
            if error.code < 500:
                raise StackError(f"Ray Serve refuses the configuration: {text}") from error
            raise OSError(last_line(text)) from error


def answers(url: str, timeout_s: float = 2.0) -> bool:
    """Whether ``url`` answers 200."""
    try:
        with _direct.open(url, timeout=timeout_s) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def last_line(text: str) -> str:
    """The line of a remote traceback that says what happened."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
