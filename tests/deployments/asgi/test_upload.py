"""Bodies are whole before another deployment is asked, and bounded in time, number and bytes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
from front import Stages, with_front
from httpx import AsyncClient

from configs.schema.app import AppConfig
from deployments.asgi.exchange import ClientGone, Exchange
from deployments.asgi.proxy import Call, Head, Part, ProxyClient
from deployments.asgi.upload import PART_BYTES, Uploads
from deployments.errors import BodyTooLarge, BodyTooSlow, Overloaded, RequestError

MIB = 1 << 20


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Far:
    """The other deployment: keeps the bodies, and how many requests it had at once."""

    def __init__(self) -> None:
        self.bodies: dict[str, bytearray] = {}
        self.largest = 0

    async def call(self, call: Call) -> AsyncIterator[Part]:
        self.bodies[call.id] = bytearray(call.body or b"")
        yield None
        yield Head(200, [])
        yield b"ok"

    async def push(self, call_id: str, part: bytes, more: bool) -> bool:
        self.bodies[call_id] += part
        self.largest = max(self.largest, len(part))
        return True


def sender(parts: Iterator[bytes | None], caller: str = "ann") -> Exchange:
    """A request that sends ``parts``; None stands for a client that leaves."""

    async def receive() -> dict[str, object]:
        part = next(parts, None)
        if part is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": part, "more_body": part != b""}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    sent: list[dict[str, object]] = []
    scope = {"type": "http", "method": "POST", "path": "/x", "headers": []}
    made = Exchange(scope, receive, send)  # type: ignore[arg-type]
    made.caller = caller
    return made


def forward(parts: Iterator[bytes | None], uploads: Uploads, most: int = 8 * MIB) -> Far:
    far = Far()
    asyncio.run(ProxyClient(far, uploads).forward(sender(parts), max_bytes=most))
    return far


@pytest.mark.parametrize("size", [0, 1, PART_BYTES, 3 * PART_BYTES + 7])
def test_a_body_arrives_as_it_was_sent(size: int) -> None:
    whole = bytes(i % 251 for i in range(size))
    pieces = [whole[i : i + 70_000] for i in range(0, size, 70_000)]
    far = forward(iter([*pieces, b""]), Uploads())
    assert [bytes(body) for body in far.bodies.values()] == [whole]
    assert far.largest <= PART_BYTES


@pytest.mark.parametrize(
    ("bytes_per_s", "error"), [(1, BodyTooSlow), (15 << 10, BodyTooSlow), (20 << 10, None)]
)
def test_a_sender_has_to_keep_up(bytes_per_s: int, error: type[RequestError] | None) -> None:
    clock = Clock()

    def drips() -> Iterator[bytes]:
        for _ in range(600):
            clock.now_s += 1
            yield b"x" * bytes_per_s
        yield b""

    uploads = Uploads(clock=clock)
    if error is None:
        forward(drips(), uploads, 64 * MIB)
        return
    with pytest.raises(error) as raised:
        forward(drips(), uploads, 64 * MIB)
    assert raised.value.status == 408
    assert clock.now_s < 200


@pytest.mark.parametrize(
    ("parts", "error"),
    [([b"x" * MIB] * 9, BodyTooLarge), ([b"x", None], ClientGone), ([b"x" * MIB] * 5, Overloaded)],
)
def test_a_body_that_is_not_taken_asks_nobody_and_leaves_nothing(
    parts: list[bytes | None], error: type[Exception]
) -> None:
    uploads, far = Uploads(max_bytes=(8 if error is Overloaded else 99) * MIB), Far()
    with pytest.raises(error):
        asyncio.run(ProxyClient(far, uploads).forward(sender(iter(parts)), max_bytes=8 * MIB))
    assert far.bodies == {}
    assert not uploads._count
    assert not uploads._bytes


def test_one_caller_holds_a_quarter_of_the_uploads_at_most() -> None:
    async def run() -> None:
        uploads, far, never = Uploads(max_at_once=8), Far(), asyncio.Event()
        proxy = ProxyClient(far, uploads)

        def dripping(caller: str) -> Exchange:
            made = sender(iter([b"x"]), caller)
            first = made.receive

            async def receive() -> dict[str, object]:
                if made.endpoint == "begun":
                    await never.wait()
                made.endpoint = "begun"
                return dict(await first())

            made.receive = receive
            return made

        held = [
            asyncio.create_task(proxy.forward(dripping(who), max_bytes=MIB))
            for who in ["hog"] * 2 + ["b"] * 2 + ["c"] * 2
        ]
        await asyncio.sleep(0.01)
        with pytest.raises(Overloaded):
            await proxy.forward(sender(iter([b"x", b""]), "hog"), max_bytes=MIB)
        await proxy.forward(sender(iter([b"x", b""]), "victim"), max_bytes=MIB)
        assert [bytes(body) for body in far.bodies.values()] == [b"x"]
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)
        assert not uploads._count

    asyncio.run(run())


async def _endless(chunks: int) -> AsyncIterator[bytes]:
    for _ in range(chunks):
        yield b"x" * 1_000


Ask = Callable[[AsyncClient], Awaitable[object]]


@pytest.mark.parametrize("path", ["/api/v1/feedback", "/api/v1/predict", "/api/v1/models", "/v2"])
@pytest.mark.parametrize("announced", [True, False])
def test_one_bound_on_bytes_before_every_route(path: str, announced: bool) -> None:
    async def body(client: AsyncClient) -> None:
        content = b"x" * 5_000 if announced else _endless(5)
        headers = {"content-type": "application/json"}
        answer = await client.post(path, content=content, headers=headers)
        # /v2 takes no body: it is not read.
        assert answer.status_code == (405 if path == "/v2" else 413)

    limits = {"max_body_bytes": 4_096, "max_text_chars": 10}
    config = {"cache": {"l2": "none"}, "limits": limits}
    with_front(AppConfig.model_validate(config), body, stages=Stages())
