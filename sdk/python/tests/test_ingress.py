"""The async client against the real ingress in this process."""

import asyncio

import httpx2
import pytest
from front import LIVE, Stages, make_front

from configs.schema.app import AppConfig
from sentigraph_client import AsyncClient, errors

CONFIG = AppConfig.model_validate({"cache": {"l2": "none"}, "limits": {"max_batch_texts": 10}})


def test_the_ingress_answers_what_the_client_takes() -> None:
    async def ask(client: AsyncClient) -> None:
        answer = await client.predict("fine", routing_key="a", priority="bulk", deadline_s=5)
        assert (answer.label, answer.model_digest) == ("POS", LIVE.digest)
        assert "server-timing" in answer.response_headers
        assert (await client.predict_batch(["fine", ""])).failed == 1
        # The server takes ten: what is refused is halved.
        items = [item async for item in client.predict_many(["fine"] * 25, max_texts=20)]
        assert [item.index for item in items] == list(range(25))
        assert (await client.feedback(answer.prediction_id, "POS")).correct
        assert (await client.server.live_models()).champion.name == LIVE.name
        assert (await client.server.checks()).status == "ready"
        assert (await client.server.health_details()).status == "healthy"
        assert "sentiment_requests_total" in await client.server.metrics()
        inferred = await client.open_inference.infer(LIVE.name, ["fine"], outputs=["label"])
        assert inferred.outputs[0].data == ["POS"]
        assert (await client.open_inference.model_metadata(LIVE.name)).name == LIVE.name
        with pytest.raises(errors.InvalidRequest) as raised:
            await client.predict(" ")
        assert (raised.value.error_code, raised.value.correlation_id != "") == ("E1003", True)
        with pytest.raises(errors.Unavailable) as off:
            await client.jobs.queue()
        assert off.value.error_code == "E4006"

    async def run() -> None:
        async with make_front(CONFIG, Stages()) as app:
            http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app))
            async with AsyncClient("http://test", http_client=http) as client:
                await ask(client)

    asyncio.run(asyncio.wait_for(run(), 60))
