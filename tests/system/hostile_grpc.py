"""Malformed and hostile gRPC calls; part of ``tests.system.abuse``.

Made from a seed, like those of ``hostile.py``. What must hold: no call ends as the server's fault.
"""

import asyncio
import random
import struct
from collections import Counter
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio

from deployments.oip.grpc_messages import METHODS, SERVICE, ModelInferRequest, ModelReadyRequest

_FAULTS = ("UNKNOWN", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "DEADLINE_EXCEEDED")
_PATIENCE_S = 20.0


def _infer(rng: random.Random) -> bytes:
    """A message that is wrong somewhere: model, shape, datatype, texts, lengths."""
    texts = [
        rng.choice([b"", b" ", b"\x00", b"\xff\xfe", b"x" * 10_001, b"fine"])
        for _ in range(rng.randint(0, 40))
    ]
    version = rng.choice(["", "", "1", "-1", "x" * 500])
    message = ModelInferRequest(model_name=rng.choice(["sentiment", "../x", ""]))
    message.model_version = version
    for _ in range(rng.choice([0, 1, 1, 1, 2])):
        shape = rng.choice([[len(texts)], [len(texts)], [-1], [1 << 62, 2], [], [1, 1, 1]])
        datatype = rng.choice(["BYTES", "BYTES", "FP32", ""])
        tensor = message.inputs.add(name="text", datatype=datatype, shape=shape)
        if rng.random() < 0.5:
            tensor.contents.bytes_contents.extend(texts)
    if rng.random() < 0.5:
        length = rng.choice([0, 5, 0xFFFFFFFF])
        message.raw_input_contents.append(struct.pack("<I", length) + rng.randbytes(9))
    if rng.random() < 0.2:
        message.outputs.add(name=rng.choice(["label", "secret", ""]))
    data: bytes = message.SerializeToString()
    return data


_KINDS: tuple[tuple[str, Callable[[random.Random], bytes]], ...] = (
    ("infer", _infer),
    ("infer", _infer),
    ("junk", lambda rng: rng.randbytes(rng.randint(0, 2_000))),
    ("cut", lambda rng: (whole := _infer(rng))[: rng.randint(0, len(whole))]),
    (
        "ready",
        lambda rng: bytes(ModelReadyRequest(name="x" * rng.randint(0, 5_000)).SerializeToString()),
    ),
)
_METADATA = (
    ("x-deadline-ms", "-1"),
    ("x-deadline-ms", "9" * 400),
    ("x-priority", "never"),
    ("x-api-key", "k" * 4_000),
    ("authorization", "Bearer " + "." * 4_000),
    ("x-correlation-id", "a" * 4_000),
    ("application", "sentigraph"),
)


async def attack(address: str, count: int, concurrency: int, key: str = "") -> dict[str, object]:
    """Sends ``count`` calls, half of them with ``key``; the status codes that came back."""
    answers: Counter[str] = Counter()
    bad: list[int] = []
    seeds = iter(range(count))

    async def client(channel: grpc.aio.Channel) -> None:
        for seed in seeds:
            rng = random.Random(seed)
            kind, make = rng.choice(_KINDS)
            method = rng.choice(["ModelInfer", "ModelInfer", *METHODS])
            metadata = rng.sample(_METADATA, rng.randint(0, 2))
            if key and seed % 2:
                metadata = [
                    *(each for each in metadata if each[0] != "x-api-key"),
                    ("x-api-key", key),
                ]
            call: Any = channel.unary_unary(f"/{SERVICE}/{method}")
            try:
                await call(make(rng), metadata=metadata, timeout=_PATIENCE_S)
                code = "OK"
            except grpc.aio.AioRpcError as error:
                code = error.code().name
            answers[f"{kind} {code}"] += 1
            if code in _FAULTS:
                bad.append(seed)

    async with grpc.aio.insecure_channel(address) as channel:
        await asyncio.gather(*(client(channel) for _ in range(concurrency)))
    return {
        "sent": sum(answers.values()),
        "answers": dict(sorted(answers.items())),
        "servers_fault": len(bad),
        "bad_seeds": sorted(bad)[:20],
    }
