"""Ray Serve and its nodes through the REST interface of Ray's dashboard: deploy, watch, drain.

It does without Ray itself: importing that takes a second and could attach to a foreign cluster.
"""

import contextlib
import json
import time
from collections.abc import Mapping
from typing import Any

import httpx

from operations.clients.http_client import open_client
from operations.clients.ray_details import (
    Fates,
    Node,
    Replica,
    RunningApplication,
    deployment_of,
    fates_of,
    last_line,
    node_of,
)
from operations.errors import ServerAway, ServerRefused, StackError

_DEPLOY_TIMEOUT_S = 120.0
_AGAIN_S = (2.0, 5.0)
_READ_TIMEOUT_S = 10.0
_CONTROLLER_LINES = 1_000
_ACTORS = 10_000
_APPLICATIONS = "/api/serve/applications/"


class RayDashboard:
    """One cluster's dashboard.

    Args:
        url: ``http://host:port``.
        token: Ray's authentication token; empty when the cluster has none.
    """

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = open_client(self.url, headers, _READ_TIMEOUT_S)

    def is_up(self) -> bool:
        """Whether it answers yet.

        Raises:
            ServerRefused: It refuses the token.
        """
        try:
            self._call("GET", _APPLICATIONS)
        except ServerAway:
            return False
        return True

    def deploy(self, config: Mapping[str, object]) -> None:
        """Hands over the content of serve_config.yaml; returns before anything runs.

        Tried again where Serve could not start: it replaces a proxy that a busy machine made late.

        Raises:
            StackError: Ray Serve refuses it.
        """
        for pause_s in (*_AGAIN_S, 0.0):
            try:
                self._call("PUT", _APPLICATIONS, config, _DEPLOY_TIMEOUT_S)
                return
            except ServerAway as error:
                away = error
            time.sleep(pause_s)
        raise StackError(f"Ray Serve did not take the configuration: {away}") from away

    def drain(self, timeout_s: float) -> None:
        """Ends the applications once the requests that they work on are answered."""
        with contextlib.suppress(StackError):
            self._call("DELETE", _APPLICATIONS, timeout_s=timeout_s)

    def application(self, name: str) -> RunningApplication | None:
        """What runs of it; None when Ray Serve does not know it.

        Raises:
            ServerAway: The dashboard does not answer.
            ServerRefused: It refuses the token.
        """
        serve = self._json(_APPLICATIONS)
        found = serve.get("applications", {}).get(name)
        if found is None:
            return None
        described = found.get("deployments", {})
        fates = Fates()
        if any(d.get("recent_dead_replicas") for d in described.values()):
            fates = fates_of(self._controller_log(serve.get("controller_info") or {}))
        deployments = tuple(deployment_of(n, d, fates) for n, d in described.items())
        return RunningApplication(name, found["status"], found.get("message", ""), deployments)

    def present(self, name: str) -> RunningApplication | None:
        """The same, and replicas whose process has ended are ``DEAD`` before Ray Serve finds it.

        Raises:
            ServerAway: The dashboard does not answer.
            ServerRefused: It refuses the token.
        """
        found = self.application(name)
        if found is None or not found.actors:
            return found
        gone = found.actors - self._living_actors()
        if not gone:
            return found
        # Ray Serve says of one that it ends on purpose that it is stopping, before it is gone.
        again = self.application(name)
        return again and again.without(gone)

    def nodes(self) -> tuple[Node, ...]:
        """All nodes that live.

        Raises:
            ServerAway: The dashboard does not answer.
            ServerRefused: It refuses the token.
        """
        summary = self._json("/nodes?view=summary")["data"]["summary"]
        return tuple(node_of(entry) for entry in summary if entry["raylet"].get("state") == "ALIVE")

    def log_tail(self, replica: Replica, lines: int) -> str:
        """The last lines of a replica's log; empty when its node has none, or does not answer."""
        return self._log(replica.node_id, replica.log, lines)

    def _living_actors(self) -> frozenset[str]:
        asked = httpx.QueryParams(
            limit=_ACTORS, filter_keys="state", filter_predicates="=", filter_values="ALIVE"
        )
        found = self._json(f"/api/v0/actors?{asked}")["data"]["result"]["result"]
        return frozenset(actor["actor_id"] for actor in found)

    def _controller_log(self, controller: Mapping[str, Any]) -> str:
        path = controller.get("log_file_path")
        return self._log(controller.get("node_id") or "", path, _CONTROLLER_LINES) if path else ""

    def _log(self, node_id: str, file: str, lines: int) -> str:
        asked = httpx.QueryParams(node_id=node_id, filename=file.lstrip("/"), lines=lines)
        try:
            return self._call("GET", f"/api/v0/logs/file?{asked}")
        except StackError:
            # The node or its file is gone by now. A dashboard that is away is reported elsewhere.
            return ""

    def _json(self, path: str) -> Any:
        try:
            return json.loads(self._call("GET", path))
        except ValueError as error:
            raise ServerAway(f"no Ray dashboard answers at {self.url}") from error

    def _call(
        self, method: str, path: str, body: object = None, timeout_s: float = _READ_TIMEOUT_S
    ) -> str:
        try:
            answer = self._http.request(method, f"{self.url}{path}", json=body, timeout=timeout_s)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise ServerAway(f"no Ray dashboard answers at {self.url}") from error
        status = answer.status_code
        if status in (401, 403):
            said = f"the Ray dashboard at {self.url} refuses the token: {answer.text}"
            raise ServerRefused(said, status)
        if status >= 500:
            raise ServerAway(f"the Ray dashboard answered {status}: {last_line(answer.text)}")
        if not answer.is_success:
            refused = (
                "Ray Serve refuses the configuration"
                if method == "PUT"
                else f"{path} answered {status}"
            )
            raise ServerRefused(f"{refused}: {answer.text}", status)
        return answer.text
