"""``sentigraph secrets`` against a real OpenBao, ``sentigraph warm`` against a small server."""

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from cli.__main__ import main
from configs.load import load_config
from configs.schema.api_keys import digest_of, read_keys
from tests.system.openbao import Bao


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bao]:
    with Bao(tmp_path_factory.mktemp("bao")) as running:
        yield running


@pytest.fixture
def with_vault(bao: Bao, monkeypatch: pytest.MonkeyPatch) -> Bao:
    monkeypatch.setenv("MLOPS_VAULT_ENABLED", "true")
    monkeypatch.setenv("MLOPS_VAULT_ADDR", bao.url)
    monkeypatch.setenv("MLOPS_VAULT_TOKEN", bao.token())
    return bao


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    status = main(["secrets", *arguments])
    said = capsys.readouterr()
    return status, said.out.strip() if status == 0 else said.err


def test_a_key_is_made_shown_once_rotated_and_revoked(
    with_vault: Bao, capsys: pytest.CaptureFixture[str]
) -> None:
    _, first = run(capsys, "new", "shop", "--role", "predict", "--role", "registry-read")
    status, said = run(capsys, "new", "shop", "--role", "predict")
    assert (status, "already" in said) == (1, True)
    _, second = run(capsys, "rotate", "shop", "--overlap-s", "60")
    _, listed = run(capsys, "keys")
    assert [line.split()[0] for line in listed.splitlines()] == ["shop", "shop"]
    assert ["ends" in line for line in listed.splitlines()] == [True, False]
    kept = with_vault.get("access.api_keys")
    assert [key.sha256 for key in read_keys(kept)] == [digest_of(first), digest_of(second)]
    assert {key.roles for key in read_keys(kept)} == {("predict", "registry-read")}
    for secret in (first, second):
        assert secret.startswith("sg_")
        assert secret not in kept + listed
    listed = dict(line.split(maxsplit=1) for line in run(capsys, "list")[1].splitlines())
    assert listed["access.api_keys"] == "in Vault"
    assert set(listed.values()) == {"in Vault", "-"}
    assert run(capsys, "revoke", "shop")[0] == 0
    assert with_vault.get("access.api_keys") == "[]"
    assert run(capsys, "revoke", "shop")[0] == run(capsys, "rotate", "shop")[0] == 1


def test_a_secret_is_written_from_stdin_and_shown_on_demand(
    with_vault: Bao, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("first-s3cret\n"))
    assert run(capsys, "set", "stream.password")[0] == 0
    assert with_vault.get("stream.password") == "first-s3cret"
    status, said = run(capsys, "get", "stream.password")
    assert (status, said.startswith("version 1, written 20")) == (0, True)
    assert "s3cret" not in said
    assert run(capsys, "get", "stream.password", "--show") == (0, "first-s3cret")
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    status, said = run(capsys, "set", "stream.password")
    assert (status, "nothing was written" in said) == (1, True)
    monkeypatch.setattr("sys.stdin", io.StringIO("no list of keys"))
    assert run(capsys, "set", "access.api_keys")[0] == 1
    assert run(capsys, "get", "jobs.webhook.secret")[0] == 1


def test_a_dry_run_of_a_migration_writes_nothing(
    with_vault: Bao, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLOPS_JOBS__WEBHOOK__SECRET", "hunter-s3cret-of-webhooks")
    said = run(capsys, "migrate", "--dry-run")[1]
    assert "jobs.webhook.secret: would be moved from MLOPS_JOBS__WEBHOOK__SECRET" in said
    assert "s3cret" not in said
    assert run(capsys, "get", "jobs.webhook.secret")[0] == 1


def test_secrets_of_the_environment_move_and_are_not_shown(
    with_vault: Bao, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLOPS_REDIS_PASSWORD", "hunter-s3cret")
    status, said = run(capsys, "migrate")
    assert status == 0
    assert "redis.password: moved; unset MLOPS_REDIS__PASSWORD" in said
    assert "s3cret" not in said
    assert with_vault.get("redis.password") == "hunter-s3cret"
    # A file's address hides nothing, one with a password does.
    assert "jobs.database" not in said
    monkeypatch.setenv("MLOPS_JOBS__DATABASE", "postgresql://jobs:s3cret@db/jobs")
    said = run(capsys, "migrate")[1]
    assert "jobs.database: moved; unset MLOPS_JOBS__DATABASE" in said
    assert "s3cret" not in said
    assert with_vault.get("jobs.database") == "postgresql://jobs:s3cret@db/jobs"
    monkeypatch.setenv("MLOPS_REDIS_PASSWORD", "another")
    assert "in Vault already" in run(capsys, "migrate")[1]
    assert with_vault.get("redis.password") == "hunter-s3cret"


def test_without_vault_a_new_key_comes_with_its_entry(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, said = run(capsys, "new", "shop", "--role", "predict")
    key, entry = said.splitlines()
    assert status == 0
    (kept,) = read_keys(f"[{entry.partition('entry: ')[2]}]")
    assert kept.sha256 == digest_of(key)
    assert run(capsys, "rotate", "shop")[0] == 1


def test_the_first_key_of_a_public_profile_can_be_made(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROFILE", "production")
    assert run(capsys, "rotate", "shop")[0] == 1
    key, entry = run(capsys, "new", "shop", "--role", "predict")[1].splitlines()
    monkeypatch.setenv("MLOPS_ACCESS__API_KEYS", f"[{entry.partition('entry: ')[2]}]")
    assert read_keys(f"[{entry.partition('entry: ')[2]}]")[0].sha256 == digest_of(key)
    assert load_config().access.required


def test_vault_that_does_not_answer_is_a_refusal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLOPS_VAULT_ENABLED", "true")
    monkeypatch.setenv("MLOPS_VAULT_ADDR", "http://127.0.0.1:1")
    monkeypatch.setenv("MLOPS_VAULT_TOKEN", "s.abc")
    assert run(capsys, "list") == (1, "sentigraph secrets: Vault: ConnectionError\n")


class Remembers(BaseHTTPRequestHandler):
    seen: ClassVar[set[str]] = set()
    keys: ClassVar[set[str | None]] = set()

    def do_POST(self) -> None:
        texts = json.loads(self.rfile.read(int(self.headers["content-length"])))["texts"]
        results = [{"prediction": {"cached": text in self.seen}} for text in texts]
        self.seen.update(texts)
        self.keys.add(self.headers["x-api-key"])
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"results": results}).encode())

    def log_message(self, *_: object) -> None:
        pass


def test_the_texts_of_a_file_are_sent_in_batches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = HTTPServer(("127.0.0.1", 0), Remembers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        lines, plain, key = (tmp_path / name for name in ("a.jsonl", "b.txt", "key"))
        lines.write_text("".join(json.dumps({"text": f"t {i}"}) + "\n" for i in range(450)))
        plain.write_text("t 1\n\nnew\n")
        key.write_text("sg_key\n")
        assert main(["warm", str(lines), "--url", url]) == 0
        assert "450 texts, 0 of them known before" in capsys.readouterr().err
        assert main(["warm", str(plain), "--url", url, "--key-file", str(key)]) == 0
        assert "2 texts, 1 of them known before" in capsys.readouterr().err
        assert Remembers.keys == {None, "sg_key"}
        (tmp_path / "bad.jsonl").write_text('{"other": 1}\n')
        assert main(["warm", str(tmp_path / "bad.jsonl"), "--url", url]) == 1
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert main(["warm", str(plain), "--url", url]) == 1


def test_a_new_key_carries_its_limits_and_a_dry_run_needs_no_vault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = [
        "--requests-per-s",
        "20",
        "--max-concurrent",
        "8",
        "--expires-at",
        "2027-01-31T00:00Z",
    ]
    assert main(["secrets", "new", "shop", "--role", "predict", *limits]) == 0
    entry = json.loads(capsys.readouterr().out.partition("entry: ")[2])
    assert (entry["requests_per_s"], entry["max_concurrent"]) == (20.0, 8)
    assert entry["expires_at"] == "2027-01-31T00:00:00Z"
    assert main(["secrets", "new", "shop", "--role", "predict", "--max-concurrent", "0"]) == 1
    assert "--max-concurrent: Input should be greater" in capsys.readouterr().err
    monkeypatch.setenv("MLOPS_REDIS__PASSWORD", "hidden-password")
    assert main(["secrets", "migrate", "--dry-run"]) == 0
    said = capsys.readouterr()
    assert said.out == "redis.password: would be moved from MLOPS_REDIS__PASSWORD\n"
    assert "hidden-password" not in said.err
    assert main(["secrets", "migrate"]) == 1
    assert "MLOPS_VAULT_ENABLED" in capsys.readouterr().err
