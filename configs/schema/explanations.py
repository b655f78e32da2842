"""Settings of explanations: which words made an answer."""

from pydantic import Field

from configs.schema.section import Section


class ExplanationsConfig(Section):
    """Why the model answers as it does."""

    enabled: bool = Field(
        False,
        description="Explain answers at `/api/v1/monitoring/explain` and run the Insight deployment; when off, it answers 503 E8001.",
    )
    use_attention: bool = Field(
        True,
        description="Default of a request's `use_attention`. The engines give no attention, and it explains little; where it is asked for, `unavailable` says so.",
    )
    use_gradients: bool = Field(
        False,
        description="Default of a request's `use_gradients`. The engines give no gradients; where they are asked for, `unavailable` says so.",
    )
    max_evaluations: int = Field(
        256,
        ge=16,
        le=1_024,
        description="Texts that one explanation asks the model, as bulk; more mean finer answers. Longer texts are explained by groups of words first.",
    )
    deadline_ms: int = Field(
        5_000,
        ge=100,
        le=60_000,
        description="Time for an explanation that names no `X-Deadline-Ms`, waiting included; afterwards 504 E2003.",
    )
    max_waiting: int = Field(
        8,
        ge=0,
        le=1_000,
        description="Explanations that wait for the one that is made; beyond it 429 E4005 with Retry-After.",
    )
