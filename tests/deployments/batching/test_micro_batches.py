"""What arrived while calls were in flight goes together."""

import asyncio
from collections.abc import Awaitable, Callable

from deployments.batching.micro_batches import MicroBatches
from deployments.batching.scheduler import Ticket

FAR = 1e9


def in_loop(body: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(body(), 5))


def text(*, bulk: bool = False, deadline_s: float = FAR) -> Ticket:
    return Ticket(deadline_s, bulk, 0.0)


class Recorder:
    """Notes the sizes of micro-batches and waits to be let go."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.expired: list[Ticket] = []
        self.gate = asyncio.Event()

    async def run(self, texts: list[Ticket]) -> None:
        self.sizes.append(len(texts) * (-1 if texts[0].bulk else 1))
        await self.gate.wait()


def test_texts_of_one_turn_go_together_and_later_ones_with_the_next_call() -> None:
    async def body() -> None:
        recorder = Recorder()
        waiting = MicroBatches[Ticket](recorder.run, recorder.expired.extend, calls=1, max_texts=4)
        waiting.scheduler.submit([text()])
        waiting.scheduler.submit([text()])
        await asyncio.sleep(0)
        assert recorder.sizes == [2]
        waiting.scheduler.submit([text() for _ in range(5)])
        waiting.scheduler.submit([text(deadline_s=0)])
        await asyncio.sleep(0.01)
        assert recorder.sizes == [2]
        # Bulk does not wait for interactive calls.
        waiting.scheduler.submit([text(bulk=True)])
        await asyncio.sleep(0.01)
        recorder.gate.set()
        await asyncio.sleep(0.01)
        assert recorder.sizes == [2, -1, 4, 1]
        assert len(recorder.expired) == 1
        assert waiting.scheduler.queued() == 0

    in_loop(body)
