"""What an attacker tries first, on the running graph: the rules of docs/threat-model.md."""

import json
import re
import socket
import stat
import time
import uuid
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import httpx
import pytest

from deployments.oip.grpc_messages import SERVICE, ModelInferRequest
from operations.local_stack.processes import MARK, belonging
from operations.local_stack.stack import Stack

PREDICT = b"POST /api/v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
GOOD = b'{"text": "good"}'


def exchange(stack: Stack, sent: bytes, wait_s: float = 2.0) -> bytes:
    """All that comes back on one connection until the server closes it or is silent."""
    address = urlsplit(stack.url)
    received = b""
    with socket.create_connection((address.hostname or "", address.port or 0), 10) as raw:
        raw.sendall(sent)
        raw.settimeout(wait_s)
        try:
            while part := raw.recv(65_536):
                received += part
        except TimeoutError:
            pass
    return received


@pytest.mark.parametrize(
    "name",
    ["x-request-id", "x-session-id", "x-request-timeout-seconds", "serve_multiplexed_model_id"],
)
def test_what_ray_cannot_decode_is_a_400_in_the_error_shape(stack: Stack, name: str) -> None:
    head = PREDICT + f"{name}: ".encode() + b"\xff\xfe\r\nContent-Length: 16\r\n\r\n"
    answer = exchange(stack, head + GOOD)
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error_code"] == "E1001"


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 16\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
        b"Content-Length: 16\r\nContent-Length: 5\r\n\r\n",
        b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: +16\r\n\r\n",
    ],
)
def test_a_body_is_never_taken_for_a_request(stack: Stack, framing: bytes) -> None:
    hidden = b"GET /api/v1/model-info HTTP/1.1\r\nHost: x\r\n\r\n"
    answers = exchange(stack, PREDICT + framing + GOOD + hidden, 1.0)
    statuses = re.findall(rb"HTTP/1\.1 (\d+)", answers)
    # Refused, or read by one of the two lengths: never one answer more than there are requests.
    assert 1 <= len(statuses) <= 2
    assert statuses[0] in (b"200", b"400", b"422")
    if statuses[0] == b"400":
        assert len(statuses) == 1


def test_one_bound_on_bytes_before_every_route(client: httpx.Client) -> None:
    for path in ("/feedback", "/predict", "/predict/batch", "/batch/predict", "/models"):
        answer = client.post(
            path, content=b"x" * (5 << 20), headers={"content-type": "application/json"}
        )
        assert answer.status_code == 413, path


def test_slow_uploads_hold_no_request_of_the_jobs_deployment(
    client: httpx.Client, stack: Stack
) -> None:
    address = urlsplit(stack.url)
    head = (
        b"POST /api/v1/batch/files HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b"
    )
    with ExitStack() as held:
        for _ in range(300):
            raw = socket.create_connection(
                (address.hostname or "", address.port or 0), 10, source_address=("127.0.0.3", 0)
            )
            held.enter_context(raw).sendall(head)
        time.sleep(1)
        for _ in range(5):
            began_s = time.monotonic()
            assert client.get("/batch/queue/status").status_code == 200
            assert time.monotonic() - began_s < 5
        # Another address may upload beside them.
        files = {"file": ("a.csv", f"text\n{uuid.uuid4()}\n".encode())}
        assert client.post("/batch/files", files=files).status_code == 202


def test_a_replicas_own_ports_answer_nobody_but_haproxy(stack: Stack) -> None:
    def ports(protocol: str) -> range:
        low, high = (
            int(stack.environ[f"RAY_SERVE_DIRECT_INGRESS_{end}_{protocol}_PORT"])
            for end in ("MIN", "MAX")
        )
        return range(low, high + 1)

    asked = []
    for port in ports("HTTP"):
        try:
            answer = httpx.post(f"http://127.0.0.1:{port}/api/v1/predict", json={"text": "a"})
        except httpx.TransportError:
            continue
        asked.append(answer.status_code)
    assert asked
    assert set(asked) == {403}
    codes = []
    # Replicas that took the place of others have later ports.
    for port in ports("GRPC"):
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary(f"/{SERVICE}/ModelInfer")
            request = ModelInferRequest(model_name="sentiment").SerializeToString()
            try:
                call(request, timeout=5, metadata=(("application", "sentigraph"),))
                codes.append("OK")
            except grpc.RpcError as error:
                codes.append(error.code().name)  # type: ignore[attr-defined]
    assert "PERMISSION_DENIED" in codes
    assert "OK" not in codes


def test_no_process_of_the_stack_has_a_secret_in_its_environment(
    stack: Stack, vault_token: str
) -> None:
    assert stack.config.vault.token.get_secret_value() == vault_token
    pids = belonging(stack.environ[MARK], set())
    assert len(pids) > 10
    holding = []
    for pid in pids:
        try:
            environ = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue  # a worker that has ended
        if vault_token.encode() in environ:
            holding.append(Path(f"/proc/{pid}/cmdline").read_bytes())
    assert not holding


def test_the_state_folder_and_haproxys_other_ports_are_not_for_others(stack: Stack) -> None:
    assert stat.S_IMODE(stack.logs.parent.stat().st_mode) == 0o700
    port = stack.environ["RAY_SERVE_HAPROXY_STATS_PORT"]
    listening = [
        line.split()[1]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for line in Path(table).read_text().splitlines()[1:]
        if line.split()[3] == "0A"
    ]
    mine = [each for each in listening if each.endswith(f":{int(port):04X}")]
    assert mine == [f"0100007F:{int(port):04X}"]
