"""What texts that fail cost the others: ``python -m benchmarks.serving.poison``.

Tokenizer and model replica of the bundled model in this process, without Ray. A stream of hops of
64 texts, two under way, half of the rounds with texts that the engine cannot compute: a batch that
holds one fails as a whole, as with a token that has no row. Rounds alternate; the ratio is of the
texts answered a second, poisoned to clean, in the same round. CPU time is the process's own.
"""

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.harness.models import BUNDLED
from benchmarks.harness.output import RESULTS, result, run_facts, say
from benchmarks.harness.texts import real_texts
from configs.schema.app import BatchingConfig, ModelConfig
from deployments.model.replica import ModelReplica
from deployments.payloads import TextBatch
from deployments.tokenizer.replica import TokenizerReplica, token_ids
from registry.bundles.bundle import open_bundle
from registry.records import Bundle

RESULT = RESULTS / "poison.json"
HOP_TEXTS, UNDER_WAY = 64, 2
# A word that no real text has; the engine fails on its ids.
_POISON = "zzqx zzqx zzqx"


class Stages:
    """Both replicas; the engine fails on batches with the poison's ids."""

    def __init__(self, folder: Path) -> None:
        bundle = open_bundle(BUNDLED)
        self.digest = bundle.digest

        async def get(digest: str) -> Bundle:
            return bundle

        bundles: Any = SimpleNamespace(directory=folder, get=get)
        self.model = ModelReplica(
            bundles, ModelConfig(), BatchingConfig(), threads=1, gpu_share=0, encode=token_ids
        )
        self._tokenizer = TokenizerReplica(bundles, self.model.run)
        (poison,) = token_ids(bundle, [_POISON])
        self._ids = np.asarray(poison[1:4])

    async def start(self) -> None:
        """Loads the model and makes its engine fail on the poison."""
        await self.model.load(self.digest)
        engine = self.model._models[self.digest].loaded.engine
        run = engine.run

        def guarded(ids: Any, mask: Any) -> Any:
            if (ids[:, 1:4] == self._ids).all(axis=1).any() if ids.shape[1] > 4 else False:
                raise RuntimeError("index out of range")
            return run(ids, mask)

        engine.run = guarded  # type: ignore[assignment]

    async def stream(self, texts: Sequence[str]) -> tuple[float, float, int]:
        """Answered texts a second, CPU microseconds of each, and how many failed."""
        hops = [texts[at : at + HOP_TEXTS] for at in range(0, len(texts), HOP_TEXTS)]
        failed, limit = 0, asyncio.Semaphore(UNDER_WAY)

        async def send(hop: Sequence[str]) -> int:
            async with limit:
                n = len(hop)
                left = np.full(n, 60, dtype=np.float32)
                bulk = np.zeros(n, dtype=np.bool_)
                batch = TextBatch(self.digest, list(hop), left, bulk)
                return int((await self._tokenizer.classify(batch)).scores.failed.sum())

        started_s, cpu_s = time.perf_counter(), time.process_time()
        failed = sum(await asyncio.gather(*map(send, hops)))
        answered = len(texts) - failed
        seconds = time.perf_counter() - started_s
        cpu_us = (time.process_time() - cpu_s) * 1e6 / answered
        return answered / seconds, cpu_us, failed


def poisoned(texts: Sequence[str], share: float, seed: int) -> list[str]:
    """The texts with a share of them replaced."""
    places = set(random.Random(seed).sample(range(len(texts)), round(share * len(texts))))
    return [_POISON if at in places else text for at, text in enumerate(texts)]


async def measure(texts: Sequence[str], share: float, rounds: int) -> dict[str, object]:
    """Medians over rounds, each with a clean and a poisoned stream."""
    with tempfile.TemporaryDirectory(prefix="sentigraph-bench-") as folder:
        stages = Stages(Path(folder))
        await stages.start()
        await stages.stream(texts[: 4 * HOP_TEXTS])
        rates, costs, seen = [], [], []
        for number in range(rounds):
            bad = poisoned(texts, share, number)
            order = (texts, bad) if number % 2 == 0 else (bad, texts)
            found = {id(arm): await stages.stream(arm) for arm in order}
            clean, dirty = found[id(texts)], found[id(bad)]
            assert clean[2] == 0, clean
            assert dirty[2] == round(share * len(texts)), dirty
            rates.append(dirty[0] / clean[0])
            costs.append(clean[1] / dirty[1])
            seen.append(clean[0])
            say(f"round {number}: {rates[-1]:.3f} of {clean[0]:.0f} texts/s; CPU {costs[-1]:.3f}")
    return {
        "clean_texts_per_s": round(statistics.median(seen), 1),
        "throughput_ratio": round(statistics.median(rates), 3),
        "throughput_ratios": [round(rate, 3) for rate in rates],
        "cpu_ratio": round(statistics.median(costs), 3),
    }


def main() -> int:
    """Prints and writes the result; 1 when the ratio is below 0.8."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=2_000)
    parser.add_argument("--share", type=float, default=0.01, help="of the texts that are poison")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    facts = run_facts() | {"texts": args.texts, "share": args.share, "rounds": args.rounds}
    texts = real_texts(args.texts)
    found = asyncio.run(measure(texts, args.share, args.rounds))
    result(args.out, facts | found)
    ratio = found["throughput_ratio"]
    assert isinstance(ratio, float)
    return int(ratio < 0.8)


if __name__ == "__main__":
    sys.exit(main())
