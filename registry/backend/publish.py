"""Puts a bundle's files and metrics into MLflow, before ``store.py`` makes a version of them.

Takes a ready ``MlflowClient``; MLflow itself is not imported here.
"""

import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from registry.backend.tags import DIGEST_TAG, EVALUATION_OF_TAG, EVALUATION_TAG, MODEL_TAG
from registry.bundles.bundle import MANIFEST
from registry.records import Bundle

# MLflow stores at most 36 characters of a dataset's digest.
DATASET_DIGEST_CHARS = 32


def publish(
    client: Any,
    *,
    experiment_id: str,
    name: str,
    bundle: Bundle,
    metrics: Mapping[str, float],
    run_id: str | None,
) -> tuple[str, str | None]:
    """Makes a finished LoggedModel with the bundle's files.

    Metrics belong to a run in MLflow: when there are any and ``run_id`` is None, a run
    is made for them.

    Returns:
        The LoggedModel's id, and the id of the run that it belongs to.
    """
    own_run = run_id is None and bool(metrics)
    if own_run:
        run = client.create_run(experiment_id, run_name=f"register {name}")
        run_id = str(run.info.run_id)
    model = client.create_logged_model(
        experiment_id,
        name=name,
        source_run_id=run_id,
        tags={DIGEST_TAG: bundle.digest, MODEL_TAG: name},
        params={
            "engine": bundle.engine.kind,
            "precision": bundle.engine.precision,
            "max_tokens": str(bundle.max_tokens),
        },
        model_type="bundle",
    )
    model_id = str(model.model_id)
    if own_run:
        # Makes the run one of the version's evaluations, see ``evaluations.py``.
        client.set_tag(run_id, EVALUATION_OF_TAG, model_id)
        client.set_tag(run_id, EVALUATION_TAG, "registration")
    log_bundle(client, model_id, bundle)
    dataset = _dataset(bundle)
    timestamp_ms = int(time.time() * 1000)
    for key, value in metrics.items():
        client.log_metric(run_id, key, value, timestamp_ms, 0, model_id=model_id, **dataset)
    client.finalize_logged_model(model_id, "READY")
    if own_run:
        client.set_terminated(run_id)
    return model_id, run_id


def log_bundle(client: Any, model_id: str, bundle: Bundle) -> None:
    """Stores the files that the bundle lists, and nothing else, in a LoggedModel."""
    with tempfile.TemporaryDirectory(prefix="sentigraph-publish-") as scratch:
        client.log_model_artifacts(model_id, str(_listed_only(bundle, Path(scratch))))


def _listed_only(bundle: Bundle, scratch: Path) -> Path:
    """A folder of links to the files that the manifest lists, and nothing else."""
    for name in (MANIFEST, *bundle.files):
        target = scratch / name
        target.parent.mkdir(parents=True, exist_ok=True)
        source = bundle.directory / name
        try:
            target.hardlink_to(source)
        except OSError:
            shutil.copyfile(source, target)  # Another file system.
    return scratch


def _dataset(bundle: Bundle) -> dict[str, str]:
    digest = bundle.provenance.get("dataset_digest")
    if not digest:
        return {}
    name = bundle.provenance.get("dataset", bundle.name)
    return {"dataset_name": name, "dataset_digest": digest[:DATASET_DIGEST_CHARS]}
