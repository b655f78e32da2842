"""The login of the jobs' database, kept in a real OpenBao and changed in a real PostgreSQL."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from front import LocalHandle, Stages, no_stages
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from configs.errors import ConfigError
from configs.schema.app import AppConfig
from deployments.clients.database import DatabaseLogin
from deployments.jobs.deployment import Jobs
from deployments.serve_options import EngineShare
from tests.system.openbao import Bao

pytestmark = pytest.mark.slow
NAME = "jobs.database"


class Postgres:
    """A server that asks the user ``jobs`` for a password."""

    def __init__(self, admin: Engine, uri: str) -> None:
        self.admin = admin
        self._uri = uri

    def uri(self, password: str) -> str:
        url = make_url(self._uri).set(username="jobs", password=password)
        return url.render_as_string(hide_password=False)

    def change(self, password: str) -> None:
        """Sets another password and ends every connection that logged in with the one before."""
        with self.admin.begin() as connection:
            connection.execute(text(f"ALTER ROLE jobs PASSWORD '{password}'"))
            connection.execute(
                text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename='jobs'")
            )


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    pgserver = pytest.importorskip("pgserver")
    folder = tmp_path_factory.mktemp("pg")
    folder.chmod(0o755)
    server = pgserver.get_server(folder, cleanup_mode="stop")
    rules = folder / "pg_hba.conf"
    rules.write_text("local all jobs scram-sha-256\n" + rules.read_text())
    uri = server.get_uri().replace("postgresql://", "postgresql+psycopg2://", 1)
    admin = create_engine(uri)
    with admin.begin() as connection:
        connection.execute(text("CREATE ROLE jobs LOGIN PASSWORD 'one'"))
        connection.execute(text("GRANT ALL ON SCHEMA public TO jobs"))
        connection.execute(text("SELECT pg_reload_conf()"))
    yield Postgres(admin, uri)
    admin.dispose()
    server.cleanup()


@pytest.fixture
def bao(tmp_path: Path) -> Iterator[Bao]:
    with Bao(tmp_path) as bao:
        yield bao


async def started(config: AppConfig) -> Any:
    jobs: Any = Jobs.__new__(Jobs)
    handle: Any = LocalHandle(Stages())
    await jobs.__init__(config, EngineShare(1, 1.0), tokenizer=handle, registry=handle)
    return jobs


async def stopped(jobs: Any) -> None:
    jobs._mirroring.cancel()
    jobs._secrets.stop()
    await jobs.stop()
    jobs._store._engine.dispose()


def test_a_password_that_vault_changes_is_used_without_a_restart_and_by_a_new_replica(
    bao: Bao, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployments.jobs.deployment.open_stages", no_stages)

    async def body() -> None:
        given = {"enabled": True, "database": postgres.uri("one")}
        config = AppConfig.model_validate(
            {"cache": {"l2": "none"}, "jobs": given, "vault": bao.settings()}
        )
        jobs = await started(config)
        assert jobs._store.backlog() == []
        postgres.change("two")
        with pytest.raises(OperationalError, match="password"):
            jobs._store.backlog()
        bao.put(NAME, postgres.uri("two"))
        deadline_s = time.monotonic() + 10
        while jobs._secrets._values.get(NAME) != postgres.uri("two"):
            assert time.monotonic() < deadline_s
            await asyncio.sleep(0.02)
        assert jobs._store.backlog() == []
        await stopped(jobs)
        # Its configuration still has the first one.
        jobs = await started(config)
        assert jobs._store.backlog() == []
        await stopped(jobs)

    asyncio.run(asyncio.wait_for(body(), 60))


@pytest.mark.parametrize("uri", ["postgresql://me:s3cret@other/jobs", "s3cret"])
def test_another_database_is_refused_and_not_shown(uri: str) -> None:
    with pytest.raises(ConfigError, match=r"jobs\.database") as caught:
        DatabaseLogin("postgresql://me:one@db/jobs", NAME).replace(uri)
    assert "s3cret" not in str(caught.value)
