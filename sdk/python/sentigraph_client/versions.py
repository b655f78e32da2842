"""Versions of models: make them, move them through stages, evaluate them, store their files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

from sentigraph_client._call import (
    AsyncResource,
    Call,
    SyncResource,
    Upload,
    filled,
    given,
    operation,
)
from sentigraph_client._models import (
    ArtifactBody,
    DecisionBody,
    EvaluationBody,
    GateBody,
    MovedVersion,
    VersionBody,
)

Stage = Literal["draft", "staging", "production", "archived"]
ArtifactFormat = Literal["bundle", "onnx", "safetensors", "h5", "pb"]
_VERSIONS = "/api/v1/models/{}/versions"
_VERSION = "/api/v1/models/{}/versions/{}"
_FILE_TIMEOUT_S = 600.0


class _Versions:
    @operation("create_version")
    def create(self, model: str, version: str, metadata: Mapping[str, Any]) -> Call[VersionBody]:
        """A new draft without files; ``Conflict`` when the model has a version of that label."""
        body = {"version": version, "metadata": metadata}
        return Call("POST", filled(_VERSIONS, model), VersionBody, json=body)

    @operation("list_versions")
    def all(self, model: str) -> Call[list[VersionBody]]:
        """All versions, newest first."""
        return Call("GET", filled(_VERSIONS, model), list[VersionBody])

    @operation("latest_version")
    def latest(self, model: str) -> Call[VersionBody | None]:
        """The version that was made last; None when there is none."""
        answer = cast("type[VersionBody | None]", VersionBody | None)
        return Call("GET", filled(f"{_VERSIONS}/latest", model), answer)

    @operation("get_version")
    def get(self, model: str, version: str) -> Call[VersionBody]:
        """One version, by its label, number or alias, with its evaluations."""
        return Call("GET", filled(_VERSION, model, version), VersionBody)

    @operation("delete_version")
    def delete(self, model: str, version: str, *, reason: str = "") -> Call[None]:
        """Deletes a version that holds no alias."""
        query = {"reason": reason or None}
        return Call("DELETE", filled(_VERSION, model, version), type(None), query=query)

    @operation("update_metadata")
    def update_metadata(
        self, model: str, version: str, metadata: Mapping[str, Any]
    ) -> Call[VersionBody]:
        """Replaces all metadata."""
        path = filled(f"{_VERSION}/metadata", model, version)
        return Call("PATCH", path, VersionBody, json={"metadata": metadata})

    @operation("update_status")
    def update_status(
        self,
        model: str,
        version: str,
        status: Stage,
        *,
        reason: str = "",
        if_match: str | None = None,
    ) -> Call[MovedVersion]:
        """Moves a version to another stage, by the same rules as ``promote``."""
        return Call(
            "PATCH",
            filled(f"{_VERSION}/status", model, version),
            MovedVersion,
            json={"status": status, "reason": reason},
            headers={"If-Match": if_match},
        )

    @operation("promote")
    def promote(
        self,
        model: str,
        version: str,
        to_status: Stage = "production",
        *,
        reason: str = "",
        retire: bool = False,
        if_match: str | None = None,
    ) -> Call[MovedVersion]:
        """Moves a version to another stage.

        Args:
            model: Its name.
            version: Label, number or alias.
            to_status: Where to.
            reason: Kept in the audit ledger.
            retire: Archive the champion although no version replaces it.
            if_match: ``ETag`` of the model; ``PreconditionFailed`` when it has changed since.

        Raises:
            Conflict: There is no such step, or the gate refuses; the message says why.
        """
        return Call(
            "POST",
            filled(f"{_VERSION}/promote", model, version),
            MovedVersion,
            json={"to_status": to_status, "reason": reason, "retire": retire},
            headers={"If-Match": if_match},
        )

    @operation("gate")
    def gate(self, model: str, version: str) -> Call[GateBody]:
        """The verdict that a promotion to production would get now; changes nothing."""
        return Call("GET", filled(f"{_VERSION}/gate", model, version), GateBody)

    @operation("decide")
    def decide(
        self, model: str, version: str, *, approve: bool, reason: str = ""
    ) -> Call[DecisionBody]:
        """Approves or rejects the version's present files; ``note`` says when it may not count."""
        path = filled(f"{_VERSION}/approval", model, version)
        return Call("POST", path, DecisionBody, json={"approve": approve, "reason": reason})

    @operation("add_evaluation")
    def add_evaluation(
        self,
        model: str,
        version: str,
        *,
        name: str,
        dataset: str,
        metrics: Mapping[str, float],
        dataset_digest: str = "",
        metadata: Mapping[str, Any] | None = None,
    ) -> Call[EvaluationBody]:
        """Records figures of a version on a dataset."""
        body = {
            "evaluation_name": name,
            "dataset_name": dataset,
            "dataset_digest": dataset_digest,
            "metrics": metrics,
            **given(metadata=metadata),
        }
        path = filled(f"{_VERSION}/evaluations", model, version)
        return Call("POST", path, EvaluationBody, json=body)

    @operation("list_evaluations")
    def evaluations(self, model: str, version: str) -> Call[list[EvaluationBody]]:
        """A version's evaluations, newest first."""
        path = filled(f"{_VERSION}/evaluations", model, version)
        return Call("GET", path, list[EvaluationBody])

    @operation("delete_evaluation")
    def delete_evaluation(self, model: str, version: str, evaluation_id: str) -> Call[None]:
        """Deletes an evaluation; its figures no longer count."""
        path = filled(f"{_VERSION}/evaluations/{{}}", model, version, evaluation_id)
        return Call("DELETE", path, type(None))

    @operation("upload_artifact")
    def upload(
        self, model: str, version: str, file: str | Path, *, format: ArtifactFormat
    ) -> Call[ArtifactBody]:
        """Stores a version's files, once: a zip of a bundle, or a single model file."""
        return Call(
            "POST",
            filled(f"{_VERSION}/artifact", model, version),
            ArtifactBody,
            upload=Upload(Path(file), {"format": format}),
            timeout_s=_FILE_TIMEOUT_S,
        )

    @operation("download_artifact")
    def download(self, model: str, version: str, into: str | Path) -> Call[Path]:
        """Writes all files of a version as one into a file; its path."""
        path = filled(f"{_VERSION}/artifact", model, version)
        return Call("GET", path, Path, into=Path(into), timeout_s=_FILE_TIMEOUT_S)

    @operation("download_artifact_file")
    def download_file(self, model: str, version: str, name: str, into: str | Path) -> Call[Path]:
        """Writes one file of a version's bundle into a file; its path."""
        names = "/".join(filled("{}", part) for part in name.split("/"))
        path = f"{filled(f'{_VERSION}/artifact', model, version)}/{names}"
        return Call("GET", path, Path, into=Path(into), timeout_s=_FILE_TIMEOUT_S)

    @operation("delete_artifact")
    def delete_artifact(self, model: str, version: str) -> Call[None]:
        """Deletes a draft's files; later stages keep theirs."""
        return Call("DELETE", filled(f"{_VERSION}/artifact", model, version), type(None))


class Versions(_Versions, SyncResource):
    """Versions of the sync client."""


class AsyncVersions(_Versions, AsyncResource):
    """Versions of the async client."""
