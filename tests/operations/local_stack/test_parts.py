"""The parts of the local stack that need no Ray: ports, processes, folders, configuration."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from cli.serve import StepPrinter
from configs.load import load_config
from operations.errors import StackError
from operations.local_stack import ray_folder
from operations.local_stack.ports import free_block, free_port, is_free
from operations.local_stack.private_environment import without_secrets
from operations.local_stack.processes import MARK, Child, belonging, end_all
from operations.local_stack.ray_auth import auth_environment, read_token
from operations.local_stack.ray_folder import RayFolder
from operations.local_stack.ray_node import ray_command, serve_defaults, serve_environment
from operations.local_stack.serve_config import ServeConfig
from operations.local_stack.stack import ROOT, StackSettings
from operations.local_stack.state_folder import Running, StateFolder

SLEEP = "import time; time.sleep(60)"
# A parent that ignores SIGTERM, with one child in another session and one that lost its
# environment but stayed in the session.
STUBBORN = f"""
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", {SLEEP!r}], start_new_session=True)
subprocess.Popen([sys.executable, "-c", {SLEEP!r}], env={{}})
print("started", flush=True)
time.sleep(60)
"""


def wait_until(is_so) -> None:
    deadline_s = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def test_everything_that_was_started_is_ended_and_nothing_else(tmp_path):
    bystander = subprocess.Popen([sys.executable, "-c", SLEEP], start_new_session=True)
    log = tmp_path / "logs" / "child.log"
    environ = {**os.environ, MARK: "one"}
    child = Child([sys.executable, "-c", STUBBORN], log=log, cwd=tmp_path, environ=environ)
    try:
        wait_until(lambda: child.last_line() == "started")
        wait_until(lambda: len(belonging("one", {child.pid})) == 3)
        assert belonging("another", set()) == set()

        assert end_all("one", [child], grace_s=0.2) == set()

        assert not child.alive
        assert child.why_ended() == "killed by SIGKILL"
        assert belonging("one", {child.pid}) == set()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_child_that_ends_when_asked_is_not_waited_for(tmp_path):
    child = Child(
        [sys.executable, "-c", SLEEP],
        log=tmp_path / "log",
        cwd=tmp_path,
        environ={**os.environ, MARK: "two"},
    )
    wait_until(lambda: belonging("two", set()))
    started_s = time.monotonic()
    assert end_all("two", [child], grace_s=30) == set()
    assert time.monotonic() - started_s < 10


def test_what_hangs_and_outlives_its_parent_is_soon_killed(tmp_path):
    # It ends when asked, its child does not.
    leaves = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {STUBBORN!r}])\n"
    child = Child(
        [sys.executable, "-c", leaves + SLEEP],
        log=tmp_path / "log",
        cwd=tmp_path,
        environ={**os.environ, MARK: "orphans"},
    )
    wait_until(lambda: child.last_line() == "started")
    wait_until(lambda: len(belonging("orphans", set())) == 4)
    started_s = time.monotonic()
    assert end_all("orphans", [child], grace_s=60) == set()
    assert time.monotonic() - started_s < 30


def test_what_a_killed_start_left_is_found_by_its_mark_alone(tmp_path):
    child = Child(
        [sys.executable, "-c", STUBBORN],
        log=tmp_path / "log",
        cwd=tmp_path,
        environ={**os.environ, MARK: "three"},
    )
    wait_until(lambda: len(belonging("three", set())) == 3)
    assert end_all("three", [], grace_s=0) == set()
    wait_until(lambda: not child.alive)


def test_a_silent_child_is_described():
    child = object.__new__(Child)
    child.log = Path(os.devnull)
    assert child.last_line() == "it said nothing"


def test_a_block_of_ports_is_free_and_its_parts_do_not_overlap():
    block = free_block()
    http, grpc = block.http_replicas, block.grpc_replicas
    single = {block.gcs, *(block.single(i) for i in range(1, 28))}
    ranges = [set(range(first, last + 1)) for first, last in (http, grpc)]
    assert len(single) == 28
    assert [len(ports) for ports in ranges] == [50, 50]
    assert len(single | ranges[0] | ranges[1]) == 128
    assert max(ranges[1]) < 32_768
    assert all(is_free(port) for port in single)
    assert is_free(free_port())


def test_two_stacks_share_no_port_and_no_path(tmp_path):
    environments, commands = [], []
    for state in (tmp_path / "a", tmp_path / "b"):
        block, folder = free_block(), RayFolder(state)
        while environments and str(block.gcs) in commands[0]:
            block = free_block()
        environments.append(serve_environment(block, folder.path))
        commands.append(
            ray_command(block, folder.temp_dir, dashboard_port=block.single(20), num_gpus=None)
        )
    same = {name for name in environments[0] if environments[0][name] == environments[1][name]}
    assert same == {
        "FORWARDED_ALLOW_IPS",
        "RAY_SERVE_ENABLE_HA_PROXY",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED",
    }
    private = [dict(zip(c[5::2], c[6::2], strict=False)) for c in commands]
    for option, value in private[0].items():
        if option.endswith("-port") and value != "0":
            assert private[1][option] != value, option


def test_socket_paths_stay_under_the_system_limit(tmp_path):
    deep = tmp_path / ("a" * 200)
    folder = RayFolder(deep)
    session = "session_2026-11-22_22-36-10_189798_1222700"
    longest = folder.temp_dir / session / "sockets" / "plasma_store.sock"
    assert len(str(longest)) < 100
    for value in serve_environment(free_block(), folder.path).values():
        assert len(value) < 60


def test_gpus_are_passed_on_only_when_named(tmp_path):
    block = free_block()
    assert "--num-gpus" not in ray_command(block, tmp_path, dashboard_port=1, num_gpus=None)
    command = ray_command(block, tmp_path, dashboard_port=1, num_gpus=0)
    assert command[-2:] == ["--num-gpus", "0"]


def test_haproxy_has_one_thread_on_small_machines():
    assert serve_defaults(2)["RAY_SERVE_HAPROXY_NBTHREAD"] == "1"
    assert serve_defaults(16)["RAY_SERVE_HAPROXY_NBTHREAD"] == "4"


def test_ray_logs_outlive_its_folder(tmp_path):
    folder, link = RayFolder(tmp_path), tmp_path / "logs-of-ray"
    folder.make(link)
    assert folder.path.stat().st_mode & 0o777 == 0o700
    (folder.temp_dir / "session_1" / "logs").mkdir(parents=True)
    (folder.temp_dir / "session_latest").symlink_to("session_1")
    (folder.logs / "gcs.out").write_text("hello")
    folder.show_logs(link)
    assert (link / "gcs.out").read_text() == "hello"
    folder.remove(link)
    assert not folder.path.exists()
    assert (link / "gcs.out").read_text() == "hello"
    folder.show_logs(link)
    assert link.is_symlink()
    # The run before can still be read.
    (earlier,) = tmp_path.glob("logs-of-ray-*")
    assert (earlier / "gcs.out").read_text() == "hello"


def test_logs_of_a_killed_run_are_kept_and_the_oldest_go(tmp_path, monkeypatch):
    folder, link = RayFolder(tmp_path), tmp_path / "ray"
    for run in range(7):
        folder.make(link)
        (folder.temp_dir / "session_1" / "logs").mkdir(parents=True)
        (folder.temp_dir / "session_latest").symlink_to("session_1")
        (folder.logs / "gcs.out").write_text(f"run {run}")
        os.utime(folder.logs / "gcs.out", (1_800_000_000 + run, 1_800_000_000 + run))
        folder.show_logs(link)
        # Killed: the folder in /tmp stays, the link leads nowhere new.
    folder.make(link)
    folder.show_logs(link)
    earlier = sorted(tmp_path.glob("ray-2*"))
    assert [(one / "gcs.out").read_text() for one in earlier] == [
        f"run {run}" for run in range(2, 7)
    ]
    monkeypatch.setattr(ray_folder, "_MOST_BYTES", 9)
    ray_folder.keep_earlier(link)
    assert [(one / "gcs.out").read_text() for one in tmp_path.glob("ray-2*")] == ["run 6"]
    folder.remove(link)


def test_the_claim_on_a_state_folder_ends_with_its_process(tmp_path):
    state = StateFolder(tmp_path / "state")
    with state.claim("http://a") as (first, previous):
        assert previous is None
        with pytest.raises(StackError, match="already running here"), state.claim("http://b"):
            pass
    with state.claim("http://b") as (second, previous):
        assert (previous, second != first) == (None, True)

    script = (
        "import sys, time; from pathlib import Path\n"
        "from operations.local_stack.state_folder import StateFolder\n"
        "with StateFolder(Path(sys.argv[1])).claim('http://c'):\n"
        "    print('held', flush=True); time.sleep(60)\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(state.path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    with holder.stdout:
        assert holder.stdout.readline() == "held\n"
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with state.claim("http://d") as (_, previous):
        assert isinstance(previous, Running)
        assert (previous.pid, previous.url) == (holder.pid, "http://c")


def test_only_the_user_can_read_the_token(tmp_path):
    state = StateFolder(tmp_path)
    file = state.token_file()
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(file.read_text()) == 64
    assert state.token_file().read_text() == file.read_text()


def test_secrets_go_from_the_environment_into_private_files(tmp_path):
    state = StateFolder(tmp_path)
    (earlier := tmp_path / "given").mkdir()
    (earlier / "MLOPS_REDIS__PASSWORD").write_text("of-redis")
    given = {
        "PATH": "/bin",
        "MLOPS_CACHE__TTL_S": "40",
        "MLOPS_API_KEY": "a-key-of-tests-1",
        "MLOPS_REGISTRY__TRACKING_URI": "postgresql://user:pa55word@db/mlflow",
        "SENTIGRAPH_SECRETS_DIR": str(earlier),
    }
    before = load_config(environ=given, home=tmp_path)
    with without_secrets(given, state) as environ:
        folder = Path(environ.pop("SENTIGRAPH_SECRETS_DIR"))
        assert environ == {"PATH": "/bin", "MLOPS_CACHE__TTL_S": "40"}
        assert folder.stat().st_mode & 0o777 == 0o700
        assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}
        environ["SENTIGRAPH_SECRETS_DIR"] = str(folder)
        assert load_config(environ=environ, home=tmp_path) == before
    assert not folder.exists()


def test_the_users_choice_of_authentication_is_kept(tmp_path):
    state = StateFolder(tmp_path)
    ours = auth_environment({}, state)
    assert read_token(ours) == state.token_file().read_text()
    for theirs in (
        {"RAY_AUTH_MODE": "disabled"},
        {"RAY_AUTH_TOKEN": "abc", "RAY_AUTH_MODE": "token"},
    ):
        kept = {} if theirs["RAY_AUTH_MODE"] == "disabled" else {"MLOPS_SERVER__FRONT_ONLY": "true"}
        assert auth_environment(theirs, state) == kept
    assert read_token({"RAY_AUTH_MODE": "disabled"}) == ""
    assert read_token({"RAY_AUTH_TOKEN": "abc"}) == "abc"
    with pytest.raises(StackError, match="Ray's token cannot be read from /none"):
        read_token({"RAY_AUTH_TOKEN_PATH": "/none"})


def test_only_the_ports_of_the_shipped_configuration_change(tmp_path):
    shipped = yaml.safe_load(StackSettings({}).config.read_text())
    serve = ServeConfig.read(StackSettings({}).config)
    serve.set_ports(http=18_000, grpc=19_000)
    serve.write(tmp_path / "written.yaml")

    written = yaml.safe_load((tmp_path / "written.yaml").read_text())
    assert written["grpc_options"].pop("port") == 19_000
    assert written["http_options"].pop("port") == 18_000
    shipped["http_options"].pop("port")
    shipped["grpc_options"].pop("port")
    assert written == shipped
    assert serve.name == "sentigraph"


def test_another_state_folder_moves_what_is_kept_and_nothing_else(tmp_path):
    serve = ServeConfig.read(StackSettings({}).config)
    environ, config = serve.app_config({"A": "b"}, tmp_path, tmp_path / "elsewhere")
    elsewhere = tmp_path / "elsewhere"
    assert config.registry.tracking_uri == f"sqlite:///{elsewhere / 'mlflow.db'}"
    assert config.registry.artifact_root == str(elsewhere / "artifacts")
    assert config.registry.bundle_cache_dir == str(elsewhere / "bundles")
    assert serve.app_config(environ, tmp_path, None)[1] == config

    unchanged, plain = serve.app_config({"A": "b"}, tmp_path, None)
    assert unchanged == {"A": "b"}
    assert config.jobs.database.get_secret_value() == f"sqlite:///{elsewhere / 'jobs.db'}"
    assert config.drift.database.get_secret_value() == f"sqlite:///{elsewhere / 'insight.db'}"
    moved = {name: getattr(config, name) for name in ("registry", "jobs", "drift")}
    assert plain.model_copy(update=moved) == config


def test_steps_are_lines_with_seconds(capsys):
    step = StepPrinter()
    step("Ray: up")
    assert capsys.readouterr().err == "   0.0 s  Ray: up\n"
