"""Names of the MLflow tags that the registry uses; those in ``mlflow.`` are MLflow's own."""

import json

# Of a model version.
DIGEST_TAG = "digest"
STAGE_TAG = "lifecycle"
LABELS_TAG = "labels"
TASK_TAG = "task"
FORMAT_TAG = "artifact_format"
SIZE_TAG = "artifact_bytes"
VERSION_LABEL_TAG = "version_label"
REGISTERED_BY_TAG = "registered_by"
SERVED_TAG = "rollout.served"
ROLLED_BACK_TAG = "registry.rolled_back"

# Of a model version or a registered model: Unix time of its deletion.
DELETED_TAG = "registry.deleted"

# Of a registered model.
DELETED_AS_TAG = "registry.deleted_as"
POLICY_TAG = "policy"
APPLIED_TAG = "registry.applied"
RELEASE_TAG = "release"
PROGRESS_TAG = "release.progress"

# Of a LoggedModel, a run or an experiment.
MODEL_TAG = "registry.model"
VERSIONS_TAG = "mlflow.modelVersions"
SEGMENT_TAG = "registry.segment"
INDEX_RUN_TAG = "index_run"
EVALUATION_TAG = "registry.evaluation"
EVALUATION_OF_TAG = "registry.evaluation_of"
EVALUATED_VERSION_TAG = "registry.version"
DATASET_TAG = "registry.dataset"
DATASET_DIGEST_TAG = "registry.dataset_digest"
METADATA_TAG = "registry.catalog.metadata"
DELETED_EVALUATIONS_TAG = "registry.deleted_evaluations"


def weight_tag(slot: str) -> str:
    """The registered model's tag that holds a slot's share of traffic."""
    return f"serve.{slot}_weight"


def labels_in(tag: str) -> tuple[str, ...]:
    """Labels from their tag; none when a person has put something else there."""
    try:
        labels = json.loads(tag)
    except ValueError:
        return ()
    return tuple(str(label) for label in labels) if isinstance(labels, list) else ()
