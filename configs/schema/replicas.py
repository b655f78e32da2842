"""How many replicas of each deployment, what each reserves, and when their number changes.

Part of ``schema.py``.
"""

from typing import Self

from pydantic import Field, model_validator

from configs.schema.section import Section


class ReplicaConfig(Section):
    """Size of one deployment of the graph."""

    num_replicas: int = Field(
        1,
        ge=0,
        le=10_000,
        description="Replicas; 0 means one for each core (model deployment) or one (others, and a fused graph).",
    )
    num_cpus: float = Field(
        0.1, ge=0, le=1_024, description="Ray CPUs that each replica reserves; placement only."
    )
    num_gpus: float = Field(
        0,
        ge=0,
        le=64,
        description="Ray GPUs that each replica reserves; a fraction shares one card, above 1 only "
        "whole numbers.",
    )
    max_ongoing_requests: int = Field(
        256,
        ge=1,
        le=1_000_000,
        description="Requests or RPCs that one replica works on at once; further ones wait at the "
        "caller.",
    )

    max_replicas: int = Field(
        0,
        ge=0,
        le=10_000,
        description="Replicas that this deployment may grow to from `num_replicas`, which is then "
        "the least; at or below that their number is fixed. Not for cache, registry, "
        "jobs and insight, which hold state.",
    )

    @model_validator(mode="after")
    def _gpu_share(self) -> Self:
        if self.num_gpus > 1 and self.num_gpus != int(self.num_gpus):
            raise ValueError(
                f"num_gpus={self.num_gpus} is neither a fraction of one GPU nor a whole number"
            )
        return self


class ReplicasConfig(Section):
    """Sizes of all deployments."""

    # Two of what every request needs: one that dies or hangs stops nothing. Together they reserve
    # what one did.
    ingress: ReplicaConfig = ReplicaConfig(num_replicas=2, num_cpus=0.1, max_ongoing_requests=1_024)
    cache: ReplicaConfig = ReplicaConfig(num_cpus=0.1)
    tokenizer: ReplicaConfig = ReplicaConfig(num_replicas=2, num_cpus=0.05)
    model: ReplicaConfig = ReplicaConfig(num_replicas=0, num_cpus=0.5, max_ongoing_requests=64)
    registry: ReplicaConfig = ReplicaConfig(num_cpus=0.1)
    # Nothing reserved: on two cores the rest is just room for a new model replica beside the old.
    stream: ReplicaConfig = ReplicaConfig(num_cpus=0)
    jobs: ReplicaConfig = ReplicaConfig(num_cpus=0)
    insight: ReplicaConfig = ReplicaConfig(num_cpus=0)


class AutoscalingConfig(Section):
    """When deployments with ``max_replicas`` grow and shrink (``deployments/autoscaling.py``)."""

    target_busy_ratio: float = Field(
        0.7,
        gt=0,
        le=1,
        description="Share of time that model engines compute; above it replicas are added.",
    )
    target_wait_ms: float = Field(
        50,
        gt=0,
        le=60_000,
        description="Predicted wait in a model replica's queue above which replicas are added "
        "although engines are not busy.",
    )
    target_ongoing_requests: float = Field(
        32,
        gt=0,
        le=1_000_000,
        description="Requests in flight in each replica of the other deployments; above it "
        "replicas are added.",
    )
    target_drain_s: float = Field(
        30,
        gt=0,
        le=86_400,
        description="Time in which stream replicas should work off what waits in Kafka; above it "
        "replicas are added, at most one for each partition.",
    )
    upscale_delay_s: float = Field(
        10,
        ge=0,
        le=86_400,
        description="Time that more must be wanted before replicas are added.",
    )
    downscale_delay_s: float = Field(
        600,
        ge=0,
        le=86_400,
        description="Time that less must be wanted before replicas are let go.",
    )
