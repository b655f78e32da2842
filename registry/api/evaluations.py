"""Routes of evaluations: add, list, delete."""

from fastapi import APIRouter

from registry.api.dependencies import ANONYMOUS, PREFIX, Actor, Backend, Name, Reference
from registry.api.schemas import EvaluationBody, EvaluationCreate, evaluation_body


def evaluation_routes(backend: Backend) -> APIRouter:
    """The routes of evaluations."""
    api = APIRouter(prefix=f"{PREFIX}/{{model_id}}/versions/{{version}}/evaluations")
    evaluations = backend.registry.evaluations

    @api.post("", status_code=201)
    def add_evaluation(
        model_id: Name, version: Reference, body: EvaluationCreate, actor: Actor = ANONYMOUS
    ) -> EvaluationBody:
        """Records figures of a version on a dataset."""
        found = backend.find(model_id, version)
        made = evaluations.add(
            found,
            name=body.evaluation_name,
            dataset=body.dataset_name,
            dataset_digest=body.dataset_digest,
            metrics=body.metrics,
            metadata=body.metadata,
            actor=actor,
        )
        return evaluation_body(found, made)

    @api.get("")
    def list_evaluations(model_id: Name, version: Reference) -> list[EvaluationBody]:
        """A version's evaluations, newest first."""
        found = backend.find(model_id, version)
        return [evaluation_body(found, evaluation) for evaluation in evaluations.of(found)]

    @api.delete("/{evaluation_id}", status_code=204)
    def delete_evaluation(
        model_id: Name, version: Reference, evaluation_id: str, actor: Actor = ANONYMOUS
    ) -> None:
        """Deletes an evaluation; its figures no longer count for gates and comparisons."""
        evaluations.delete(backend.find(model_id, version), evaluation_id, actor=actor)

    return api
