"""The Ingress deployment of the fused topology: Tokenizer and Model inside each replica."""

from collections.abc import Sequence

from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from configs.schema.app import AppConfig
from deployments.handles import bundle_cache, load_live
from deployments.ingress.deployment import Ingress
from deployments.ingress.mounts import Upstreams
from deployments.model.deployment import gpu_share
from deployments.model.replica import ModelReplica
from deployments.payloads import ModelAnswer, Probe, RunTexts, TextBatch
from deployments.serve_options import EngineShare, by_engine, deployment, engine_counts
from deployments.tokenizer.replica import TokenizerReplica, token_ids

# A hop inside a replica is a call: several fill the engine's window without costing RPCs.
_FUSED_HOPS = 6


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
            replans=True,
        )
        self._tokenizer = TokenizerReplica(bundles, self._model.run)
        await load_live(upstreams.registry, self.load)
        return self._tokenizer.classify

    async def load(self, digest: str) -> None:
        """Opens a bundle's model and tokenizer."""
        await self._model.load(digest)
        await self._tokenizer.load(digest)

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
        return self._model.record_autoscaling_stats()


def bind(config: AppConfig, upstreams: Upstreams[Application]) -> Application:
    """The deployment, with one replica per engine."""
    sizes, scaling = config.replicas, config.autoscaling
    models, threads = engine_counts(config)
    # It computes as a model and takes requests as an ingress.
    taken = {"max_ongoing_requests": sizes.ingress.max_ongoing_requests}
    ingress = deployment(
        FusedIngress,
        sizes.model.model_copy(update=taken),
        name="Ingress",
        replicas=models,
        scaling=scaling,
        policy=by_engine(scaling),
    )
    hops = config.batching.max_hops_in_flight or _FUSED_HOPS
    return ingress.bind(config, EngineShare(hops, 1, threads), upstreams)
