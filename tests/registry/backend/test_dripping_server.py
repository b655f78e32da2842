"""The whole Registry deployment with a real MLflow whose answers come a byte at a time."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from gauges import Gauges
from no_fleet import NoFleet, NoObservers
from registry_api import Api

from configs.schema.app import AppConfig, ModelConfig
from configs.schema.registry import RegistryConfig
from deployments.rollout.change_feed import ChangeFeed
from deployments.rollout.deployment import Registry
from registry.model_registry import ModelRegistry
from registry.records import Bundle
from tests.system.chaos_proxy import Fault, TcpProxy

pytestmark = pytest.mark.slow
# A call fails after it, a pause of up to a second, and it again; a whole answer takes a minute.
LIMIT_S, GIVEN_UP_S = 1, 10


def test_a_server_that_drips_is_given_up_in_time_and_followed_again_after_it(
    server_url: str,
    name: str,
    make_bundle: Callable[..., Bundle],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", str(LIMIT_S))
    models = ModelRegistry(server_url, tmp_path / "unused")
    made = models.store.register(name, make_bundle().directory, actor="ana")
    models.point(name, "champion", made.version, actor="ana", reason="first")

    async def body(port: int) -> None:
        fleet, config = NoFleet(), config_at(f"http://127.0.0.1:{port}", name, tmp_path)
        registry = Registry(config, fleet, NoObservers(), Gauges().make)

        async def told(*, away: bool) -> float:
            began_s = time.monotonic()
            while not fleet.tables or fleet.tables[-1].registry_away != away:
                await asyncio.sleep(0.01)
                assert time.monotonic() - began_s < 20
            return time.monotonic() - began_s

        async def asked() -> tuple[int, float]:
            began_s = time.monotonic()
            api = Api(config, ModelRegistry(config.registry.tracking_uri, tmp_path), ChangeFeed())
            answer = await asyncio.to_thread(api, "GET", f"/{name}")
            return answer.status_code, time.monotonic() - began_s

        await registry.routes()
        await told(away=False)
        assert (await asked())[0] == 200
        with proxy.fault(Fault(drip_s=0.2)):
            # The table is repeated every two seconds at least.
            telling, asking = asyncio.create_task(told(away=True)), asyncio.create_task(asked())
            while not (telling.done() and asking.done()):
                assert await asyncio.wait_for(asyncio.to_thread(lambda: "done"), 1) == "done"
                await asyncio.sleep(0.05)
            assert await telling < GIVEN_UP_S
            status, took_s = await asking
            assert (status, took_s < GIVEN_UP_S) == (503, True), took_s
            assert "registry cannot be followed" in caplog.text
        await told(away=False)
        assert (await asked())[0] == 200
        registry._tasks["reconcile"].cancel()

    with TcpProxy(int(server_url.rpartition(":")[2])) as proxy:
        asyncio.run(body(proxy.port))


def config_at(tracking_uri: str, name: str, folder: Path) -> AppConfig:
    registry = RegistryConfig(
        tracking_uri=tracking_uri,
        artifact_root=str(folder / "artifacts"),
        bundle_cache_dir=str(folder / "bundles"),
    )
    return AppConfig(registry=registry, model=ModelConfig(name=name))
