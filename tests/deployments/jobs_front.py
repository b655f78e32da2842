"""The real Jobs replica in this process, behind the real ingress: only the RPCs are calls.

Time is the machine's; what has to pass in a test is set short.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from front import LocalHandle, Stages, Written

from configs.schema.app import AppConfig
from deployments.app import mounts
from deployments.ingress.mounts import Upstreams
from deployments.jobs.replica import JobsReplica
from deployments.serve_options import EngineShare
from deployments.telemetry.metrics import Metrics

Body = Callable[[httpx.AsyncClient, JobsReplica], Awaitable[None]]


def jobs_config(folder: Path | str, **parts: Any) -> AppConfig:
    """Jobs on, in a database in ``folder``, or at that URI; ``jobs=`` gives more settings."""
    uri = folder if isinstance(folder, str) else f"sqlite:///{folder}/jobs.db"
    jobs = {"enabled": True, "database": uri, "lease_s": 1, **parts.pop("jobs", {})}
    return AppConfig.model_validate({"cache": {"l2": "none"}, "jobs": jobs, **parts})


def make_replica(config: AppConfig, stages: Stages) -> JobsReplica:
    """A replica whose texts go to ``stages``; not started."""
    replica = JobsReplica()
    replica.open(
        config,
        "Jobs",
        run_texts=stages.classify,
        table=stages.table,
        share=EngineShare(2, 1.0),
        metrics=Metrics(),
    )
    replica.open_jobs(config)
    return replica


@asynccontextmanager
async def jobs_front(
    config: AppConfig, stages: Stages | None = None, *, start: bool = True
) -> AsyncIterator[tuple[httpx.AsyncClient, JobsReplica]]:
    """A client of an ingress whose Jobs deployment is a replica in this process."""
    stages = stages or Stages()
    replica = make_replica(config, stages)
    ingress = Written.__new__(Written)
    await Written.__init__(  # type: ignore[misc]
        ingress,
        config,
        EngineShare(1, 1.0),
        Upstreams(
            registry=LocalHandle(stages),
            tokenizer=LocalHandle(stages),
            mounts=mounts(config, LocalHandle(stages), StreamHandle(replica), None),
        ),
    )
    if start:
        replica.start()
    transport = httpx.ASGITransport(ingress.__serve_build_asgi_app__())
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://t/api/v1/batch") as c:
            yield c, replica
    finally:
        await replica.stop()
        if config.access.required:
            await ingress._gate.close()
        ingress.__del__()


class StreamHandle(LocalHandle):
    """A handle whose streams can be cancelled, as Serve's can."""

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._target, name)
        if name != "call":
            return super().__getattr__(name)
        return type("Method", (), {"remote": staticmethod(lambda *args: Stream(method(*args)))})


class Stream:
    def __init__(self, parts: AsyncIterator[Any]) -> None:
        self._parts = parts

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._parts

    def cancel(self) -> None:
        pass


def with_jobs(config: AppConfig, body: Body, stages: Stages | None = None, **how: bool) -> None:
    """Runs ``body`` with a client and the replica."""

    async def run() -> None:
        async with jobs_front(config, stages, **how) as (client, replica):
            await body(client, replica)

    asyncio.run(asyncio.wait_for(run(), 30))


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    """Waits for what another task brings about."""
    while not await is_so():  # noqa: ASYNC110  (what is waited for has no event)
        await asyncio.sleep(0.02)


async def until_ended(client: httpx.AsyncClient, job_id: str) -> dict[str, Any]:
    """The status of a job once it has ended."""
    while True:
        status: dict[str, Any] = (await client.get(f"/status/{job_id}")).json()
        if status["status"] not in ("pending", "processing"):
            return status
        await asyncio.sleep(0.02)
