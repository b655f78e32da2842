"""The real ingress and the real Insight replica in this process: only the RPCs are calls."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
from front import LIVE, LocalHandle, Stages, Written
from jobs_front import StreamHandle

from configs.schema.app import AppConfig
from deployments.app import mounts
from deployments.ingress.mounts import Upstreams
from deployments.insight.feedback.release_labels import Releases
from deployments.insight.replica import InsightReplica
from deployments.serve_options import EngineShare
from deployments.telemetry.metrics import Metrics
from deployments.versions import CurrentRoutes

Body = Callable[[httpx.AsyncClient, InsightReplica, Metrics], Awaitable[None]]


def drift_config(folder: Path, drift: dict[str, Any] | None = None, **parts: Any) -> AppConfig:
    """Drift on, with short times; ``drift`` gives more settings."""
    section = {
        "enabled": True,
        "database": f"sqlite:///{folder}/insight.db",
        "report_interval_s": 0.1,
        "baseline_texts": 1_000,
        **(drift or {}),
    }
    named = {"model": {"name": LIVE.name}, "cache": {"l2": "none"}}
    return AppConfig.model_validate({**named, "drift": section, **parts})


def with_insight(config: AppConfig, body: Body, stages: Stages | None = None) -> None:
    """Runs ``body`` with a client of the ingress, the replica and its metrics."""

    async def run() -> None:
        made = stages or Stages()
        metrics = Metrics()
        replica = InsightReplica(
            config,
            metrics,
            CurrentRoutes(made.table),
            releases=Releases(made.reviewed, made.missed),
            run_texts=made.classify,
        )
        handle = StreamHandle(replica)
        ingress = Written.__new__(Written)
        await Written.__init__(  # type: ignore[misc]
            ingress,
            config,
            EngineShare(1, 1.0),
            Upstreams(
                registry=LocalHandle(made),
                tokenizer=LocalHandle(made),
                insight=handle,
                mounts=mounts(config, LocalHandle(made), None, handle),
            ),
        )
        replica.start()
        transport = httpx.ASGITransport(ingress.__serve_build_asgi_app__())
        try:
            async with httpx.AsyncClient(transport=transport, base_url="http://t/api/v1") as client:
                await body(client, replica, metrics)
        finally:
            await replica.stop()
            if config.access.required:
                await ingress._gate.close()
            ingress.__del__()

    asyncio.run(asyncio.wait_for(run(), 180))
