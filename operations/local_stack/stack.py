"""The local stack: registry, MLflow server, Ray with its dashboard, and the application.

``sentigraph serve`` runs one on fixed ports, the integration tests one on private ports. Start-up
reads from top to bottom in ``Stack._start``; leaving the ``with`` block, however it is
left, ends every process that was started and nothing else.
"""

import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from configs.cpu_cores import available_cores
from configs.load import find_home
from configs.sources.shipped_files import shipped_file
from operations.clients.http_client import answers
from operations.clients.ray_dashboard import RayDashboard
from operations.clients.ray_details import last_line
from operations.errors import ServerAway, StackError
from operations.front.settings import write_program
from operations.local_stack.first_version import first_version
from operations.local_stack.mlflow_server import login_hint, mlflow_server
from operations.local_stack.monitoring import addresses, lay_out
from operations.local_stack.ports import free_block, free_port, is_free
from operations.local_stack.private_environment import without_secrets
from operations.local_stack.processes import MARK, Child, belonging, end_all
from operations.local_stack.ray_auth import auth_environment, open_ports, read_token
from operations.local_stack.ray_folder import RayFolder
from operations.local_stack.ray_node import ray_command, serve_defaults, serve_environment
from operations.local_stack.serve_config import ServeConfig
from operations.local_stack.state_folder import StateFolder
from registry.errors import LedgerDamaged

# Of the packages: the checkout, or where the wheel is installed.
ROOT = Path(__file__).resolve().parents[2]
_POLL_S = 0.3
_HALF_STARTED_WAIT_S = 1.0
_FAILED = ("DEPLOY_FAILED", "UNHEALTHY")


@dataclass(frozen=True, slots=True)
class StackSettings:
    """What a stack is made of.

    Attributes:
        environ: Environment to start from, usually ``os.environ``.
        config: A ``serve_config.yaml``; its first application is deployed.
        state_dir: Registry, logs and bundles; None takes ``.sentigraph`` in the home folder.
        port: Of the application; 0 is any free one, here and below.
        mlflow_port: Of the MLflow server and its UI.
        dashboard_port: Of the Ray dashboard.
        grpc_port: Of the application's gRPC server, where the configuration has one.
        num_gpus: GPUs that Ray hands out; None lets Ray count them.
        ready_path: Answers 200 once the application is ready.
        start_wait_s: Longest start-up of Ray, and then of the application.
        drain_wait_s: Longest wait at the end for requests that are in flight.
        stop_wait_s: After it, what has not ended by itself is killed.
    """

    environ: Mapping[str, str]
    config: Path = field(default_factory=lambda: shipped_file("serve_config.yaml"))
    state_dir: Path | None = None
    port: int = 8000
    mlflow_port: int = 5000
    dashboard_port: int = 8265
    grpc_port: int = 0
    num_gpus: int | None = None
    ready_path: str = "/api/v1/health/ready"
    start_wait_s: float = 300.0
    drain_wait_s: float = 10.0
    stop_wait_s: float = 10.0


class Stack:
    """A running application: ``with Stack(settings) as stack: … stack.url``.

    Attributes:
        url: Of the application.
        grpc_address: Host and port of its gRPC server.
        mlflow_url: Of the MLflow server; the configured one when the registry is a server.
        mlflow_login: How to log in there; empty where anybody may.
        dashboard_url: Of the Ray dashboard.
        ray_address: For ``ray.init(address=…)`` in a process with ``environ``.
        environ: Environment of Ray's processes; names its token or the token's file.
        logs: Folder of all logs.
        config: The application's configuration.
    """

    def __init__(self, settings: StackSettings, on_step: Callable[[str], object] = str) -> None:
        self._settings = settings
        self._step = on_step
        self._port = settings.port or free_port()
        self._dashboard_port = settings.dashboard_port or free_port()
        self._mlflow_port = settings.mlflow_port or free_port()
        self._grpc_port = settings.grpc_port or free_port()
        self._serve = ServeConfig.read(settings.config)
        self._home = find_home(settings.environ)
        self._config_environ, self.config = self._serve.app_config(
            settings.environ, self._home, settings.state_dir
        )
        self._state = StateFolder(settings.state_dir or self._home / ".sentigraph")
        self._folder = RayFolder(self._state.path)
        self._children: dict[str, Child] = {}
        self._ray_is_up = False
        self._undo = ExitStack()
        self.logs = self._state.logs
        self.url = f"http://127.0.0.1:{self._port}"
        self.grpc_address = f"127.0.0.1:{self._grpc_port}"
        self.dashboard_url = f"http://127.0.0.1:{self._dashboard_port}"
        self.mlflow_login = ""
        self._own_mlflow = not self.config.registry.tracking_uri.startswith("http")
        self.mlflow_url = (
            f"http://127.0.0.1:{self._mlflow_port}"
            if self._own_mlflow
            else self.config.registry.tracking_uri
        )
        self.ray_address = ""
        self.environ: dict[str, str] = {}

    def __enter__(self) -> Self:
        """Starts everything; returns when the application is ready.

        Raises:
            StackError: Something is in the way, or failed; all that had started is ended.
            RegistryError: The registry cannot be used.
        """
        with ExitStack() as on_failure:
            on_failure.callback(self._undo.close)
            self._start()
            on_failure.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends everything that was started."""
        self._undo.close()

    def wait(self) -> None:
        """Blocks until Ray ends. Serving goes on without MLflow.

        Raises:
            StackError: Ray ended.
        """
        while True:
            try:
                self._check_children()
            except StackError as error:
                if not self._children["Ray"].alive:
                    raise
                self._step(f"{error}; serving goes on without it")
                del self._children["MLflow"]
            time.sleep(1.0)

    def _start(self) -> None:
        mark = self._claim()
        self._check_ports()
        try:
            version = first_version(self.config)
        except LedgerDamaged as error:
            self._step(f"{error}; the version that was live last is served")
        else:
            self._step(f"registry: {version.name} version {version.version}, {version.digest[:12]}")
        if self._own_mlflow:
            command, environ = mlflow_server(
                self.config, self._state, self._mlflow_port, self._settings.environ
            )
            self._launch("MLflow", command, {**environ, MARK: mark}, cwd=self._state.path)
            self.mlflow_login = login_hint(self.config, self._state)
        dashboard = self._start_ray(mark)
        self._deploy(dashboard)
        ready = f"{self.url}{self._settings.ready_path}"
        self._wait_until(lambda: answers(ready), f"{ready} to answer 200")
        self._step("application: ready")
        if self._own_mlflow:
            self._wait_until(lambda: answers(f"{self.mlflow_url}/health"), "MLflow")
            self._step("MLflow: up")

    def _claim(self) -> str:
        mlflow_url = self.mlflow_url if self._own_mlflow else ""
        mark, previous = self._undo.enter_context(
            self._state.claim(self.url, self.dashboard_url, mlflow_url)
        )
        if previous and (left := belonging(previous.mark, set())):
            self._step(f"ending {len(left)} processes that a killed start left behind")
            end_all(previous.mark, [], 0)
        return mark

    def _check_ports(self) -> None:
        wanted = [("--port", self._port), ("--grpc-port", self._grpc_port)]
        wanted.append(("--dashboard-port", self._dashboard_port))
        if self._own_mlflow:
            wanted.append(("--mlflow-port", self._mlflow_port))
        for option, port in wanted:
            if not is_free(port):
                variable = option.strip("-").replace("-", "_").upper()
                raise StackError(
                    f"port {port} is taken by another program: end that program, or choose "
                    f"another port with {option} (make serve: {variable}=PORT)"
                )
        self._step(f"state folder {self._state.path}, logs in {self.logs}")

    def _start_ray(self, mark: str) -> RayDashboard:
        ports = free_block()
        self._serve.set_ports(http=self._port, grpc=self._grpc_port)
        self._serve.write(self._state.serve_config)
        environ = {
            **serve_defaults(available_cores()),
            **auth_environment(self._config_environ, self._state),
            **self._undo.enter_context(without_secrets(self._config_environ, self._state)),
            **serve_environment(ports, self._folder.path),
            **lay_out(self._state.monitoring),
            "SENTIGRAPH_HOME": str(self._home),
            MARK: mark,
        }
        paths = [str(ROOT), environ.get("PYTHONPATH", "")]
        environ["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
        self.environ = environ
        self.ray_address = f"127.0.0.1:{ports.gcs}"
        self._folder.make(self.logs / "ray")
        write_program(Path(environ["RAY_SERVE_HAPROXY_BINARY_PATH"]))
        self._launch(
            "Ray",
            ray_command(
                ports,
                self._folder.temp_dir,
                dashboard_port=self._dashboard_port,
                num_gpus=self._settings.num_gpus,
            ),
            environ,
            cwd=self._home,
        )
        dashboard = RayDashboard(self.dashboard_url, read_token(environ))
        self._wait_until(dashboard.is_up, "Ray")
        self._folder.show_logs(self.logs / "ray")
        self._ray_is_up = True
        self._undo.enter_context(addresses(self._state.monitoring, self._folder.temp_dir))
        self._step("Ray: up")
        self._step(open_ports(environ))
        return dashboard

    def _deploy(self, dashboard: RayDashboard) -> None:
        dashboard.deploy(self._serve.content)
        self._undo.callback(self._drain, dashboard)
        shown: set[str] = set()

        def running() -> bool:
            try:
                now = dashboard.application(self._serve.name)
            except ServerAway:
                return False
            if now is None:
                return False
            lines = [f"deploying: {now}"] if now.deployments else []
            for line in lines + now.problems:
                if line not in shown:
                    self._step(line)
                    shown.add(line)
            if now.status in _FAILED:
                reasons = now.problems or [last_line(now.message)]
                raise StackError(f"the application cannot run: {'; '.join(reasons)}")
            return now.status == "RUNNING"

        self._wait_until(running, f"application {self._serve.name}")

    def _launch(self, name: str, command: list[str], environ: Mapping[str, str], cwd: Path) -> None:
        if not self._children:
            self._undo.callback(self._end_children, environ[MARK])
        log = self.logs / f"{name.lower()}.log"
        self._children[name] = Child(command, log=log, cwd=cwd, environ=environ)

    def _wait_until(self, is_so: Callable[[], bool], what: str) -> None:
        deadline_s = time.monotonic() + self._settings.start_wait_s
        while not is_so():
            self._check_children()
            if time.monotonic() > deadline_s:
                raise StackError(
                    f"waited {self._settings.start_wait_s:g} s in vain for {what}; "
                    f"the logs are in {self.logs}"
                )
            time.sleep(_POLL_S)

    def _check_children(self) -> None:
        for name, child in self._children.items():
            if not child.alive:
                raise StackError(f"{name} ended: {child.why_ended()} (log: {child.log})")

    def _drain(self, dashboard: RayDashboard) -> None:
        if self._children["Ray"].alive:
            self._step("stopping: answering what is in flight")
            dashboard.drain(self._settings.drain_wait_s)

    def _end_children(self, mark: str) -> None:
        self._step("stopping: Ray and MLflow")
        # Half-started servers hold nothing that is worth waiting for.
        grace_s = self._settings.stop_wait_s if self._ray_is_up else _HALF_STARTED_WAIT_S
        left = end_all(mark, list(self._children.values()), grace_s)
        self._folder.remove(self.logs / "ray")
        self._step(f"could not end processes {sorted(left)}" if left else "stopped")
