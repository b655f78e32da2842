"""The window: when batches form, what is dropped, and that nothing is ever stuck."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from deployments.batching.batcher import Batcher, Expired, Postponed, QueueFull, Ticket

FAR = 1e9


class Recorder:
    """Runs batches when told to, and notes what each one held."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()

    async def run(self, tickets: list[Ticket[int, int]]) -> list[int | Exception]:
        self.batches.append([ticket.item for ticket in tickets])
        await self.gate.wait()
        return [10 * ticket.item for ticket in tickets]


def in_loop(body: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(body(), 5))


def make(recorder: Recorder, **changes: object) -> Batcher[int, int]:
    settings = {"max_items": 4, "slots": 1, "max_queued": 100, **changes}
    return Batcher[int, int](recorder.run, **settings)  # type: ignore[arg-type]


def test_an_idle_window_runs_the_first_item_alone_and_the_rest_together() -> None:
    async def body() -> None:
        recorder = Recorder()
        window = make(recorder)
        first = window.submit([1], FAR)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        later = window.submit([2], FAR) + window.submit([3], FAR) + window.submit([4], FAR)
        recorder.gate.set()
        results = await asyncio.gather(*(ticket.future for ticket in first + later))
        assert results == [10, 20, 30, 40]
        assert recorder.batches == [[1], [2, 3, 4]]

    in_loop(body)


def test_items_of_one_loop_turn_leave_together_up_to_the_limit() -> None:
    async def body() -> None:
        recorder = Recorder()
        recorder.gate.set()
        window = make(recorder)
        tickets = window.submit(list(range(10)), FAR)
        await asyncio.gather(*(ticket.future for ticket in tickets))
        assert recorder.batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]

    in_loop(body)


def test_slots_bound_the_batches_that_run_at_once() -> None:
    async def body() -> None:
        recorder = Recorder()
        window = make(recorder, max_items=1, slots=2)
        tickets = window.submit([1, 2, 3], FAR)
        await asyncio.sleep(0.01)
        assert recorder.batches == [[1], [2]]
        assert window.queued == 1
        recorder.gate.set()
        await asyncio.gather(*(ticket.future for ticket in tickets))
        assert recorder.batches == [[1], [2], [3]]

    in_loop(body)


def test_withdrawn_and_expired_items_never_reach_run() -> None:
    async def body() -> None:
        now = 100.0
        dropped: list[str] = []
        recorder = Recorder()
        window = make(recorder, on_drop=dropped.append, clock=lambda: now)
        (busy,) = window.submit([0], FAR)
        await asyncio.sleep(0.01)
        (withdrawn,) = window.submit([1], FAR)
        (expired,) = window.submit([2], 101.0)
        (kept,) = window.submit([3], FAR)
        withdrawn.future.cancel()
        now = 102.0
        recorder.gate.set()
        assert await kept.future == 30
        await busy.future
        with pytest.raises(Expired):
            await expired.future
        assert recorder.batches == [[0], [3]]
        assert dropped == ["cancelled", "expired"]

    in_loop(body)


def test_a_full_queue_takes_all_or_nothing_and_withdrawn_items_make_room() -> None:
    async def body() -> None:
        recorder = Recorder()
        window = make(recorder, max_items=1, max_queued=3)
        (busy,) = window.submit([0], FAR)
        await asyncio.sleep(0.01)
        waiting = window.submit([1, 2], FAR)
        with pytest.raises(QueueFull) as full:
            window.submit([3, 4], FAR)
        assert full.value.queued == 2
        assert window.queued == 2
        waiting[0].future.cancel()
        later = window.submit([3, 4], FAR)
        assert window.queued == 3
        recorder.gate.set()
        kept = [busy, waiting[1], *later]
        assert await asyncio.gather(*(t.future for t in kept)) == [0, 20, 30, 40]

    in_loop(body)


def test_bulk_that_fills_its_queue_refuses_no_interactive_item() -> None:
    async def body() -> None:
        recorder = Recorder()
        window = make(recorder, max_items=1, max_queued=2)
        tickets = window.submit([90], FAR, bulk=True)
        await asyncio.sleep(0.01)
        tickets += window.submit([91, 92], FAR, bulk=True)
        with pytest.raises(QueueFull):
            window.submit([93], FAR, bulk=True)
        tickets += window.submit([1, 2], FAR)
        with pytest.raises(QueueFull) as full:
            window.submit([3], FAR)
        assert full.value.queued == 2
        recorder.gate.set()
        await asyncio.gather(*(ticket.future for ticket in tickets))

    in_loop(body)


def test_an_exception_fails_its_batch_and_nothing_else() -> None:
    async def body() -> None:
        async def run(tickets: list[Ticket[int, int]]) -> list[int | Exception]:
            if tickets[0].item == 1:
                raise RuntimeError("engine broke")
            return [ValueError("this item alone") if t.item == 3 else t.item for t in tickets]

        window = Batcher[int, int](run, max_items=1, slots=1, max_queued=10)
        broken, fine = window.submit([1, 2], FAR)
        with pytest.raises(RuntimeError, match="engine broke"):
            await broken.future
        assert await fine.future == 2
        with pytest.raises(ValueError, match="this item alone"):
            await window.submit([3], FAR)[0].future
        assert await window.submit([4], FAR)[0].future == 4

    in_loop(body)


def test_a_batch_that_nobody_waits_for_is_stopped_and_its_slot_is_free_again() -> None:
    async def body() -> None:
        stopped = asyncio.Event()

        async def run(tickets: list[Ticket[int, int]]) -> list[int | Exception]:
            if tickets[0].item != 1:
                return [ticket.item for ticket in tickets]
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                stopped.set()
                raise
            return []

        window = Batcher[int, int](run, max_items=2, slots=1, max_queued=10)
        first, second = window.submit([1, 1], FAR)
        await asyncio.sleep(0.01)
        first.future.cancel()
        await asyncio.sleep(0.01)
        assert not stopped.is_set()
        second.future.cancel()
        await stopped.wait()
        assert await window.submit([5], FAR)[0].future == 5

    in_loop(body)


def test_interactive_goes_first_and_bulk_keeps_its_share() -> None:
    async def body() -> None:
        recorder = Recorder()
        window = make(recorder, max_items=4, bulk_ratio=0.5)
        first = window.submit([0], FAR)
        await asyncio.sleep(0.01)
        bulk = window.submit([91, 92, 93, 94, 95], FAR, bulk=True)
        fast = window.submit(list(range(1, 11)), FAR)
        recorder.gate.set()
        await asyncio.gather(*(ticket.future for ticket in first + bulk + fast))
        # Two bulk items for four interactive ones, and whole batches once nothing else waits.
        expected = [[0], [1, 2, 3, 4], [91, 92], [5, 6, 7, 8], [93, 94], [9, 10], [95]]
        assert recorder.batches == expected

    in_loop(body)


def test_a_low_share_lets_bulk_wait_longer() -> None:
    async def body() -> None:
        recorder = Recorder()
        window = make(recorder, max_items=4, bulk_ratio=0.125)
        first = window.submit([0], FAR)
        await asyncio.sleep(0.01)
        bulk = window.submit([91, 92], FAR, bulk=True)
        fast = window.submit(list(range(1, 13)), FAR)
        recorder.gate.set()
        await asyncio.gather(*(ticket.future for ticket in first + bulk + fast))
        assert [batch[0] for batch in recorder.batches] == [0, 1, 5, 91, 9, 92]

    in_loop(body)


def test_running_bulk_keeps_no_interactive_item_where_both_may_run_together() -> None:
    async def body() -> None:
        recorder = Recorder()
        window = make(recorder, max_items=2, slots=2, together=4)
        tickets = window.submit([91, 92, 93, 94, 95], FAR, bulk=True)
        await asyncio.sleep(0.01)
        assert recorder.batches == [[91, 92], [93, 94]]
        tickets += window.submit([1, 2, 3, 4, 5], FAR)
        await asyncio.sleep(0.01)
        assert recorder.batches[2:] == [[1, 2], [3, 4]]
        recorder.gate.set()
        await asyncio.gather(*(ticket.future for ticket in tickets))
        assert sorted(recorder.batches[4:]) == [[5], [95]]

    in_loop(body)


def test_postponed_items_go_back_to_the_head_of_their_queue() -> None:
    async def body() -> None:
        seen: list[list[int]] = []

        async def run(tickets: list[Ticket[int, int]]) -> list[int | Exception]:
            seen.append([ticket.item for ticket in tickets])
            return [t.item if i == 0 else Postponed() for i, t in enumerate(tickets)]

        window = Batcher[int, int](run, max_items=3, slots=1, max_queued=10)
        tickets = window.submit([1, 2, 3, 4], FAR, bulk=True)
        assert await asyncio.gather(*(t.future for t in tickets)) == [1, 2, 3, 4]
        assert seen == [[1, 2, 3], [2, 3, 4], [3, 4], [4]]

    in_loop(body)
