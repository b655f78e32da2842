"""Texts to token ids: the stage between the ingress and the model.

``LoadedTokenizer`` is the plain encoder of one bundle. ``TokenizerReplica`` holds one for each
live model version, encodes a micro-batch and hands it, whole, to the model stage.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import tokenizers

from deployments.bundles import BundleCache
from deployments.payloads import (
    EncodingBatch,
    Encodings,
    IntArray,
    ModelAnswer,
    RunModel,
    TextBatch,
)
from deployments.telemetry.spans import Span, done, rows_of
from registry.bundles.bundle import TOKENIZER_FILE
from registry.records import Bundle

_log = logging.getLogger("ray.serve")
# Encoding takes almost a millisecond per thousand characters. Below this a thread hand-over costs
# more than it saves; above it, the event loop must stay free.
_INLINE_CHARS = 4_096


class LoadedTokenizer:
    """The fast tokenizer of one bundle. Safe to share between threads."""

    def __init__(self, bundle: Bundle) -> None:
        path = bundle.directory / TOKENIZER_FILE
        self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(
            max_length=bundle.max_tokens, direction=bundle.truncation_side
        )

    def encode(self, texts: Sequence[str]) -> Encodings:
        """Encodes texts in order; longer ones are cut to ``max_tokens``, at the bundle's
        ``truncation_side``, and marked."""
        # One by one: the library's own thread pool would take cores from the model replicas.
        rows = [self._encode(text) for text in texts]
        ids = [token for row in rows if row is not None for token in row.ids]
        lengths = [0 if row is None else len(row) for row in rows]
        truncated = [row is not None and bool(row.overflowing) for row in rows]
        return Encodings(
            ids=np.array(ids, dtype=np.int32),
            lengths=np.array(lengths, dtype=np.int32),
            truncated=np.array(truncated, dtype=np.bool_),
        )

    def _encode(self, text: str) -> tokenizers.Encoding | None:
        try:
            return self._tokenizer.encode(text)
        except BaseException as error:
            # A panic of the library, which is no ``Exception``, concerns its text alone too.
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            _log.warning("a text cannot be tokenized: %s", type(error).__name__)
            return None


class TokenizerReplica:
    """Encodes micro-batches and passes them on. One instance per replica."""

    def __init__(self, bundles: BundleCache, run_model: RunModel) -> None:
        self._bundles = bundles
        self._run_model = run_model
        self._tokenizers: dict[str, LoadedTokenizer] = {}

    async def load(self, digest: str) -> None:
        """Opens the tokenizer of a bundle; does nothing when it is open already.

        Raises:
            RegistryError: The bundle cannot be fetched or fails its digest check.
        """
        if digest not in self._tokenizers:
            bundle = await self._bundles.get(digest)
            self._tokenizers[digest] = LoadedTokenizer(bundle)

    async def unload(self, digest: str) -> None:
        """Frees the tokenizer of a bundle that gets no requests any more."""
        self._tokenizers.pop(digest, None)

    def encode_now(self, digest: str, texts: Sequence[str]) -> Encodings | None:
        """Encodes texts; None if the tokenizer is not open or would hold up the event loop."""
        tokenizer = self._tokenizers.get(digest)
        if tokenizer is None or sum(map(len, texts)) > _INLINE_CHARS:
            return None
        return tokenizer.encode(texts)

    async def encode(self, digest: str, texts: Sequence[str]) -> Encodings:
        """Encodes texts with a tokenizer that is open, in a thread if that takes long."""
        encoded = self.encode_now(digest, texts)
        if encoded is not None:
            return encoded
        return await asyncio.to_thread(self._tokenizers[digest].encode, texts)

    async def tokenize(self, batch: TextBatch) -> Encodings:
        """Encodes the texts of a payload, with spans of sampled requests.

        Raises:
            RegistryError: The payload's bundle is not open and cannot be.
        """
        await self.load(batch.digest)
        started = time.monotonic()
        encoded = await self.encode(batch.digest, batch.texts)
        if not batch.contexts:
            return encoded
        return replace(encoded, spans=_spans(batch, encoded, started, time.monotonic()))

    async def classify(self, batch: TextBatch) -> ModelAnswer:
        """Tokenizes ``batch`` and has the model score it; row i belongs to text i."""
        started = time.monotonic()
        encoded = await self.tokenize(batch)
        tokenize_s = time.monotonic() - started
        scores = await self._run_model(
            EncodingBatch(
                digest=batch.digest,
                ids=encoded.ids,
                lengths=encoded.lengths,
                remaining_s=batch.remaining_s - np.float32(tokenize_s),
                bulk=batch.bulk,
                contexts=batch.contexts,
            )
        )
        return ModelAnswer(scores, encoded.lengths, encoded.truncated, tokenize_s, encoded.spans)


def _spans(batch: TextBatch, encoded: Encodings, started: float, ended: float) -> tuple[Span, ...]:
    """One for each sampled request; they share the time of the whole micro-batch."""
    return tuple(
        done(
            "tokenize",
            "Tokenizer",
            context,
            started,
            ended,
            attributes={
                "sentigraph.texts": len(rows),
                "sentigraph.tokens": int(encoded.lengths[rows].sum()),
                "sentigraph.truncated": int(encoded.truncated[rows].sum()),
                "sentigraph.hop.texts": len(batch.texts),
            },
        )
        for context, rows in rows_of(batch.contexts).items()
    )


def token_ids(bundle: Bundle, texts: Sequence[str]) -> list[IntArray]:
    """Token ids of each text by the bundle's tokenizer, opened for this call."""
    tokenizer = LoadedTokenizer(bundle)
    return [tokenizer.encode([text]).ids for text in texts]
