"""The Ingress deployment of the fused topology: Tokenizer and Model inside each replica."""

from collections.abc import Sequence

from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from configs.schema.app import AppConfig
from deployments.ingress.deployment import Ingress
from deployments.ingress.mounts import Upstreams
from deployments.model.deployment import gpu_share
from deployments.model.replica import ModelReplica
from deployments.payloads import Contexts, Encodings, ModelAnswer, Probe, RunTexts, TextBatch
from deployments.serve_options import EngineShare, by_engine, deployment, fused_share
from deployments.tokenizer.replica import TokenizerReplica, token_ids
from deployments.transport.handles import bundle_cache, load_live


class OwnStages:
    """``Stages`` in this process."""

    def __init__(self, tokenizer: TokenizerReplica, model: ModelReplica) -> None:
        self._tokenizer = tokenizer
        self._model = model
        self.submit = model.submit
        self.queued = model.queued
        self.purge = model.purge

    def silent(self) -> Sequence[str]:
        """There is no other process."""
        return ()

    def close(self) -> None:
        """There is no connection to end."""

    async def load(self, digest: str) -> None:
        """Opens a bundle's model and tokenizer."""
        await self._model.load(digest)
        await self._tokenizer.load(digest)

    def encode_now(self, digest: str, texts: Sequence[str]) -> Encodings | None:
        """See ``TokenizerReplica.encode_now``."""
        return self._tokenizer.encode_now(digest, texts) if self._model.holds(digest) else None

    async def encode(
        self, digest: str, texts: Sequence[str], contexts: Contexts, deadline_s: float
    ) -> Encodings:
        """See ``TokenizerReplica.encode``."""
        return await self._tokenizer.encode(digest, texts)


class FusedIngress(Ingress):
    """An ingress replica that tokenizes and scores by itself."""

    async def open_stages(
        self, config: AppConfig, share: EngineShare, upstreams: Upstreams[DeploymentHandle]
    ) -> RunTexts:
        """Loads the live models and tokenizers; there is no Tokenizer deployment."""
        bundles = bundle_cache(config, upstreams.registry)
        self._model = ModelReplica(
            bundles,
            config.model,
            config.batching,
            threads=share.threads,
            encode=token_ids,
            gpu_share=gpu_share(config),
            engines=int(share.engines),
            metrics=self._metrics.engines,
        )
        self._tokenizer = TokenizerReplica(bundles, self._model.run)
        self.stages = self._own = OwnStages(self._tokenizer, self._model)
        await load_live(upstreams.registry, self.load)
        return self._tokenizer.classify

    async def load(self, digest: str) -> None:
        """Opens a bundle's model and tokenizer."""
        await self._own.load(digest)

    async def probe(self, digest: str, texts: Sequence[str]) -> Probe:
        """See ``ModelReplica.probe``."""
        return await self._model.probe(digest, texts)

    async def classify(self, batch: TextBatch) -> ModelAnswer:
        """The tokenizer stage for the Stream and Jobs deployments."""
        return await self._tokenizer.classify(batch)

    async def unload(self, digest: str) -> None:
        """Frees a bundle's tokenizer and model."""
        await self._tokenizer.unload(digest)
        await self._model.unload(digest)

    async def check_health(self) -> None:
        """Serve calls this every few seconds and replaces a replica whose engine fails."""
        await self._model.check_health()

    def record_autoscaling_stats(self) -> dict[str, float]:
        """The figures that ``ModelPolicy`` decides by."""
        return super().record_autoscaling_stats() | self._model.record_autoscaling_stats()


def bind(config: AppConfig, upstreams: Upstreams[Application]) -> Application:
    """The deployment: one replica with an engine for each core, or as many as are asked for."""
    sizes, scaling = config.replicas, config.autoscaling
    replicas, share = fused_share(config)
    # It computes as a model and takes requests as an ingress.
    taken = {"max_ongoing_requests": sizes.ingress.max_ongoing_requests}
    ingress = deployment(
        FusedIngress,
        sizes.model.model_copy(update=taken),
        name="Ingress",
        replicas=replicas,
        scaling=scaling,
        policy=by_engine(scaling),
    )
    return ingress.bind(config, share, upstreams)
