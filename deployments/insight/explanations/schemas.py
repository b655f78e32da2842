"""Bodies of the explanation routes."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ExplainRequest(BaseModel):
    """What is to be explained."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    text: str = Field(min_length=1, max_length=10_000)
    prediction: str | None = Field(
        None, max_length=255, description="What the caller was told; compared, never believed."
    )
    confidence: float | None = Field(None, ge=0, le=1, description="Compared as well.")
    use_attention: bool | None = None
    use_gradients: bool | None = None
    method: Literal["occlusion", "shapley"] = Field(
        "occlusion",
        description="`occlusion`: words left out and left in alone; `shapley`: random orders, "
        "several times the cost, with standard errors.",
    )
    max_evaluations: int | None = Field(
        None, ge=16, le=1_024, description="At most `explanations.max_evaluations`."
    )
    check: bool = Field(False, description="Measure the explanation too; about 60 texts more.")


class ExplainedWord(BaseModel):
    """One word, `text[start:end]` in code points."""

    text: str
    start: int
    end: int
    contribution: float = Field(description="To the label's log-odds; below 0 speaks against it.")
    standard_error: float | None
    score_without: float | None = Field(description="The label's probability without the word.")
    seen: bool = Field(description="The model saw it; texts beyond its length are cut.")


class TopWord(BaseModel):
    """One of the words that matter most."""

    word: str
    contribution: float


class FaithfulnessBody(BaseModel):
    """How well the explanation tells what the model does."""

    comprehensiveness: float = Field(description="More is better.")
    sufficiency: float = Field(description="Less is better.")
    deletion_auc: float = Field(description="Less is better.")
    random_deletion_auc: float


class Explanation(BaseModel):
    """Which words made the answer."""

    model_config = ConfigDict(protected_namespaces=())
    text: str
    prediction: str
    confidence: float
    caller_agrees: bool | None = Field(
        description="The caller's label and score are the model's; null where none was sent."
    )
    summary: str = Field(description="In one sentence.")
    explanation_methods: list[str]
    top_contributing_words: list[TopWord]
    attention: None = None
    integrated_gradients: None = None
    confidence_interpretation: str
    text_features: dict[str, float]
    model_name: str
    model_version: int
    model_digest: str
    method: Literal["occlusion", "shapley", "grouped"]
    empty_text_score: float = Field(description="The label's probability without any word.")
    words: list[ExplainedWord]
    evaluations: int = Field(description="Texts that the model was asked.")
    seed: int
    additivity_gap: float = Field(
        description="Log-odds between the text and no text that the words do not add up to."
    )
    unavailable: dict[str, str] = Field(description="What was asked for and is not there, and why.")
    faithfulness: FaithfulnessBody | None
