"""Secrets in a real OpenBao, which speaks Vault's API: read, rotated, sealed, logged in to."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import hvac
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from front import with_front
from pydantic import SecretStr
from tls import self_signed, tls_in_front_of

from configs.errors import ConfigError, SecretsError
from configs.load import load_config
from configs.schema.api_keys import new_key, read_keys, rotated, write_keys
from configs.schema.app import AppConfig
from configs.schema.dependencies import RedisConfig, VaultConfig
from configs.sources.vault import VaultSecrets, secret_names
from deployments.clients.redis import RedisCredentials
from deployments.clients.vault import SecretWatch
from operations.local_stack.ports import free_port
from tests.system.chaos_proxy import Fault, TcpProxy
from tests.system.openbao import Bao

PREDICT = "/api/v1/predict"
PASSWORD, KEYS = "redis.password", "access.api_keys"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bao]:
    with Bao(tmp_path_factory.mktemp("bao")) as bao:
        yield bao


@pytest.fixture
def bao(running: Bao) -> Iterator[Bao]:
    yield running
    for name in (PASSWORD, KEYS):
        running.root.secrets.kv.v2.delete_metadata_and_all_versions(
            f"mlops-sentiment/{name}", mount_point="mlops-sentiment"
        )


def source(bao: Bao, **more: Any) -> VaultSecrets:
    return VaultSecrets(VaultConfig(**bao.settings(**more)))


def test_secrets_are_read_written_and_named(bao: Bao) -> None:
    vault = source(bao)
    assert vault.read(secret_names()) == {}
    vault.change(PASSWORD, lambda before: before + "one")
    vault.change(PASSWORD, lambda before: before + " two")
    assert vault.read(secret_names()) == {PASSWORD: "one two"}
    assert PASSWORD in vault.names()
    assert source(bao, secrets_path="elsewhere").names() == []


def test_two_who_change_at_once_do_not_lose_one_change(bao: Bao) -> None:
    def meanwhile(_: str) -> str:
        bao.put(PASSWORD, "theirs")
        return "mine"

    with pytest.raises(SecretsError, match="InvalidRequest"):
        source(bao).change(PASSWORD, meanwhile)
    assert source(bao).read([PASSWORD]) == {PASSWORD: "theirs"}


def test_vault_is_the_highest_source(bao: Bao, tmp_path: Path) -> None:
    bao.put(PASSWORD, "from-vault")
    environ = {
        "MLOPS_VAULT_ENABLED": "true",
        "MLOPS_VAULT_ADDR": bao.url,
        "MLOPS_VAULT_TOKEN": bao.token(),
        "MLOPS_REDIS_PASSWORD": "from-environment",
    }
    config = load_config(environ=environ, home=tmp_path)
    assert config.redis.password.get_secret_value() == "from-vault"
    bao.put(KEYS, '[{"id": "tops3cret"}]')
    with pytest.raises(ConfigError, match="API keys: 0") as caught:
        load_config(environ=environ, home=tmp_path)
    assert "tops3cret" not in str(caught.value)


def test_production_does_not_start_without_vault_and_others_do(tmp_path: Path) -> None:
    environ = {
        "MLOPS_VAULT_ENABLED": "true",
        "MLOPS_VAULT_ADDR": f"http://127.0.0.1:{free_port()}",
        "MLOPS_VAULT_TOKEN": "s.abc",
        "MLOPS_REDIS_PASSWORD": "from-environment",
    }
    config = load_config(environ=environ, home=tmp_path)
    assert config.redis.password.get_secret_value() == "from-environment"
    with pytest.raises(ConfigError, match="no secrets: Vault: ConnectionError") as caught:
        load_config(environ={**environ, "PROFILE": "production"}, home=tmp_path)
    assert "s.abc" not in str(caught.value)


def test_a_wrong_token_or_policy_is_refused(bao: Bao) -> None:
    for wrong in ({"token": "s.wrong"}, {"mount_point": "other"}):
        with pytest.raises(SecretsError, match="Vault: Forbidden"):
            source(bao, **wrong).read([PASSWORD])


def test_a_secret_without_text_is_refused(bao: Bao) -> None:
    bao.put(PASSWORD, {"not": "text"})
    with pytest.raises(SecretsError, match="has no text"):
        source(bao).read([PASSWORD])


def test_approle_logs_in_anew_when_its_login_ends(bao: Bao) -> None:
    bao.put(PASSWORD, "one")
    if "approle/" not in bao.root.sys.list_auth_methods()["data"]:
        bao.root.sys.enable_auth_method("approle")
    role = bao.root.auth.approle
    role.create_or_update_approle("app", token_policies=["app"], token_ttl="1s", token_max_ttl="2s")
    role_id = role.read_role_id("app")["data"]["role_id"]
    secret_id = role.generate_secret_id("app")["data"]["secret_id"]
    vault = source(bao, auth="approle", role=role_id, secret_id=secret_id)
    ends = time.monotonic() + 3.5  # beyond the longest life that renewing gives
    while time.monotonic() < ends:
        assert vault.read([PASSWORD]) == {PASSWORD: "one"}
        assert vault.login_ends_in_s <= 1
        time.sleep(0.3)
    with pytest.raises(SecretsError, match="InvalidRequest"):
        source(bao, auth="approle", role=role_id, secret_id="wrong").read([PASSWORD])


def test_a_token_is_renewed_in_the_second_half_of_its_life(bao: Bao) -> None:
    bao.put(PASSWORD, "one")
    token = bao.token(ttl="1h", renewable=True)
    now_s = 0.0
    vault = VaultSecrets(VaultConfig(**bao.settings(token=token)), clock=lambda: now_s)

    def renewed() -> bool:
        return "last_renewal" in bao.root.auth.token.lookup(token)["data"]

    vault.read([PASSWORD])
    now_s = 1_700.0
    vault.read([PASSWORD])
    assert not renewed()
    now_s = 1_900.0
    assert vault.read([PASSWORD]) == {PASSWORD: "one"}
    assert renewed()
    assert 3_500 < vault.login_ends_in_s <= 3_600


def test_a_revoked_login_is_replaced(bao: Bao) -> None:
    bao.put(PASSWORD, "one")
    if "approle/" not in bao.root.sys.list_auth_methods()["data"]:
        bao.root.sys.enable_auth_method("approle")
    role = bao.root.auth.approle
    role.create_or_update_approle("lasting", token_policies=["app"], token_ttl="1h")
    role_id = role.read_role_id("lasting")["data"]["role_id"]
    secret_id = role.generate_secret_id("lasting")["data"]["secret_id"]
    vault = source(bao, auth="approle", role=role_id, secret_id=secret_id)
    vault.read([PASSWORD])
    bao.root.auth.token.revoke(vault._client.token)
    assert vault.read([PASSWORD]) == {PASSWORD: "one"}


def test_a_pod_logs_in_with_its_service_account(bao: Bao, tmp_path: Path) -> None:
    """Against OpenBao's JWT method at the Kubernetes path: the same call, without a cluster."""
    signer = rsa.generate_private_key(65_537, 2_048)
    public = signer.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    bao.put(PASSWORD, "one")
    bao.root.sys.enable_auth_method("jwt", path="kubernetes")
    bao.root.write_data(
        "auth/kubernetes/config", data={"jwt_validation_pubkeys": [public.decode()]}
    )
    login = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"]}
    bao.root.write_data(
        "auth/kubernetes/role/sentigraph", data={**login, "token_policies": ["app"]}
    )
    now = datetime.now(UTC)
    times = {"iat": now, "nbf": now, "exp": now + timedelta(hours=1)}
    claims = {"sub": "system:serviceaccount:ml:sentigraph", "aud": "vault", **times}
    file = tmp_path / "token"
    file.write_text(jwt.encode(claims, signer, "RS256") + "\n")
    pod = {"auth": "kubernetes", "role": "sentigraph", "jwt_file": str(file)}
    assert source(bao, **pod).read([PASSWORD]) == {PASSWORD: "one"}
    with pytest.raises(SecretsError, match="FileNotFoundError"):
        source(bao, **{**pod, "jwt_file": str(tmp_path / "none")}).read([PASSWORD])


def test_a_namespace_has_its_own_secrets(bao: Bao) -> None:
    bao.put(PASSWORD, "outer")
    bao.root.write_data("sys/namespaces/team", data={})
    inner = hvac.Client(url=bao.url, token=bao.root.token, namespace="team")
    inner.sys.enable_secrets_engine("kv", path="mlops-sentiment", options={"version": "2"})
    team = source(bao, namespace="team", token=bao.root.token)
    deadline = time.monotonic() + 5
    while True:
        try:
            team.change(PASSWORD, lambda _: "inner")  # the engine is being upgraded for a moment
            break
        except SecretsError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert team.read([PASSWORD]) == {PASSWORD: "inner"}
    assert source(bao).read([PASSWORD]) == {PASSWORD: "outer"}


def test_tls_trusts_only_its_authority(bao: Bao, tmp_path: Path) -> None:
    async def body() -> None:
        async with tls_in_front_of(bao.port, *files) as port:
            address = f"https://localhost:{port}"
            trusting = source(bao, address=address, ca_file=str(files[0]))
            assert await asyncio.to_thread(trusting.read, [PASSWORD]) == {PASSWORD: "one"}
            trusting.close()
            unknown = source(bao, address=address)
            with pytest.raises(SecretsError, match="SSLError"):
                await asyncio.to_thread(unknown.read, [PASSWORD])

    bao.put(PASSWORD, "one")
    files = self_signed(tmp_path)
    run(body)


def run(body: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(body(), 30))


def test_a_rotated_password_is_in_use_after_the_refresh(bao: Bao) -> None:
    async def body() -> None:
        login = RedisCredentials(RedisConfig(password=SecretStr("configured")))
        config = VaultConfig(**bao.settings(refresh_ms=100))
        watch = SecretWatch(config, {}, login=login)
        bao.put(PASSWORD, "one")
        await watch.start()
        assert login.get_credentials() == ("one",)
        bao.put(PASSWORD, "two")
        await until(lambda: login.get_credentials() == ("two",))
        bao.root.sys.seal()
        await asyncio.sleep(0.3)
        assert login.get_credentials() == ("two",)
        assert watch.state.startswith("degraded")
        bao.unseal()
        bao.put(PASSWORD, "three")
        await until(lambda: login.get_credentials() == ("three",))
        assert watch.state == "ok"

    run(body)


async def until(so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not so():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def test_a_key_is_rotated_under_load_and_vault_is_sealed_meanwhile(bao: Bao) -> None:
    """The old key works for the overlap and then stops; no request fails in between."""

    async def body(client: httpx.AsyncClient) -> None:
        async def status(key: str) -> int:
            answer = await client.post(PREDICT, json={"text": "a"}, headers={"X-API-Key": key})
            return answer.status_code

        async def answers(key: str, wanted: int) -> None:
            for _ in range(200):
                if await status(key) == wanted:
                    return
                await asyncio.sleep(0.02)
            pytest.fail(f"not {wanted} after four seconds")

        async def metric(name: str) -> float:
            page = (await client.get("/api/v1/metrics", headers={"X-API-Key": new})).text
            return next(
                float(line.split()[1]) for line in page.splitlines() if line.startswith(name)
            )

        async def load() -> None:
            while not done.is_set():
                statuses.append(await status(keys_in_use[0]))
                await asyncio.sleep(0.005)

        assert await status(old) == 200
        statuses: list[int] = []
        keys_in_use, done = [old], asyncio.Event()
        loading = asyncio.create_task(load())
        new, document = rotated(read_keys(write_keys([kept])), "shop", timedelta(seconds=2))
        bao.put(KEYS, write_keys(document))
        ends = time.monotonic() + 2
        await answers(new, 200)
        assert await status(old) == 200
        bao.root.sys.seal()
        keys_in_use[0] = new
        await asyncio.sleep(0.5)
        assert await metric("sentiment_vault_up") == 0
        assert await status(old) == await status(new) == 200
        bao.unseal()
        await asyncio.sleep(0.5)
        assert await metric("sentiment_vault_up") == 1
        assert await metric('sentiment_vault_rotations_total{secret="access.api_keys"}') == 1
        assert await metric('sentiment_vault_reads_total{result="error"}') >= 1
        await asyncio.sleep(max(0.0, ends - time.monotonic()) + 0.1)
        assert await status(old) == 401
        done.set()
        await loading
        assert len(statuses) > 20
        assert set(statuses) == {200}

    old, kept = new_key("shop", ["predict"])
    bao.put(KEYS, write_keys([kept]))
    settings = {"vault": bao.settings(), "access": {"required": True}, "cache": {"l2": "none"}}
    with_front(AppConfig.model_validate(settings), body)


def test_a_slow_vault_costs_no_more_than_the_time_limit(bao: Bao) -> None:
    bao.put(PASSWORD, "one")
    vault = source(bao, timeout_ms=300)
    vault.read([PASSWORD])
    bao.signal(signal.SIGSTOP)
    time.sleep(0.1)  # all its threads have to stop
    try:
        started = time.monotonic()
        with pytest.raises(SecretsError, match="Timeout"):
            vault.read([PASSWORD])
        assert time.monotonic() - started < 2
    finally:
        bao.signal(signal.SIGCONT)


def test_a_vault_that_drips_is_told_within_the_time_limit_and_used_again_after_it(bao: Bao) -> None:
    """A byte comes every 20 ms: no read is late, the whole answer would take 20 s."""

    async def body() -> None:
        login = RedisCredentials(RedisConfig(password=SecretStr("configured")))
        address = f"http://127.0.0.1:{proxy.port}"
        config = VaultConfig(**bao.settings(address=address, timeout_ms=500, refresh_ms=100))
        watch = SecretWatch(config, {}, login=login)
        bao.put(PASSWORD, "one")
        await watch.start()
        assert login.get_credentials() == ("one",)
        with proxy.fault(Fault(drip_s=0.02)):
            began_s = time.monotonic()
            await until(lambda: watch.state.startswith("degraded: Vault does not answer"))
            assert 0.4 < time.monotonic() - began_s < 3
            for _ in range(3):
                assert await asyncio.wait_for(asyncio.to_thread(lambda: "done"), 1) == "done"
                await asyncio.sleep(0.3)
            assert watch.state.startswith("degraded")
            assert login.get_credentials() == ("one",)
        bao.put(PASSWORD, "two")
        await until(lambda: login.get_credentials() == ("two",))
        assert watch.state == "ok"
        watch.stop()

    with TcpProxy(bao.port) as proxy:
        run(body)
