"""Drift of texts and answers: state, check, report, events; acknowledge it, take a new reference.

Every method is about the champion unless another version's digest is given.
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from sentigraph_client._call import AsyncResource, Call, SyncResource, given, operation
from sentigraph_client._models import Changed, DriftCheck, DriftSummary, Events, Explanation

T = TypeVar("T")
_DRIFT = "/api/v1/monitoring/drift"


class _Monitoring:
    @operation("drift_summary")
    def drift(self, *, model_digest: str | None = None) -> Call[DriftSummary]:
        """Which signals have left their reference, and since when."""
        return Call("GET", _DRIFT, DriftSummary, query=given(model_digest=model_digest))

    @operation("drift_check")
    def check(self, *, model_digest: str | None = None) -> Call[DriftCheck]:
        """The latest texts beside the reference; changes nothing."""
        return Call("GET", f"{_DRIFT}/check", DriftCheck, query=given(model_digest=model_digest))

    @operation("drift_report")
    def report(self, *, model_digest: str | None = None) -> Call[str]:
        """The same as one HTML page."""
        return Call("GET", f"{_DRIFT}/report", str, query=given(model_digest=model_digest))

    @operation("drift_events")
    def events(self, *, model_digest: str | None = None) -> Call[Events]:
        """What was reached, ended, reset and replaced, by whom and why."""
        return Call("GET", f"{_DRIFT}/events", Events, query=given(model_digest=model_digest))

    @operation("reset_drift")
    def reset(
        self, *, reason: str = "", relearn: bool = False, model_digest: str | None = None
    ) -> Call[Changed]:
        """Acknowledges every level: evidence begins anew, with ``relearn`` a new reference too."""
        return Call(
            "POST",
            f"{_DRIFT}/reset",
            Changed,
            query=given(model_digest=model_digest),
            json={"reason": reason, "relearn": relearn},
        )

    @operation("update_drift_baseline")
    def update_baseline(
        self,
        *,
        reason: str = "",
        force: bool = False,
        if_match: str | None = None,
        model_digest: str | None = None,
    ) -> Call[Changed]:
        """Takes the texts of the last 24 hours as what is usual.

        Args:
            reason: Kept with the change.
            force: Also while something has drifted.
            if_match: Id of the reference to replace; ``PreconditionFailed`` when it is another.
            model_digest: Of another version than the champion.
        """
        return Call(
            "POST",
            f"{_DRIFT}/update-baseline",
            Changed,
            query=given(model_digest=model_digest),
            json={"reason": reason, "force": force},
            headers={"If-Match": if_match},
        )

    @operation("explain")
    def explain(
        self,
        text: str,
        *,
        method: Literal["occlusion", "shapley"] = "occlusion",
        check: bool = False,
        max_evaluations: int | None = None,
        deadline_s: float | None = None,
    ) -> Call[Explanation]:
        """Which words made the champion's answer to a text, and how much each.

        Args:
            text: Not blank.
            method: ``shapley`` takes several times as long and gives standard errors.
            check: Measure the explanation too.
            max_evaluations: Texts that the model is asked at most.
            deadline_s: When the answer is worthless; the client's ``timeout_s`` if not given.
        """
        body = {"text": text, "method": method, "check": check, "max_evaluations": max_evaluations}
        return _explain("", Explanation, deadline_s, body)

    @operation("explain_html")
    def explain_page(
        self,
        text: str,
        *,
        method: Literal["occlusion", "shapley"] = "occlusion",
        check: bool = False,
        max_evaluations: int | None = None,
        deadline_s: float | None = None,
    ) -> Call[str]:
        """The same as one HTML page."""
        body = {"text": text, "method": method, "check": check, "max_evaluations": max_evaluations}
        return _explain("/html", str, deadline_s, body)


def _explain(
    path: str, answer: type[T], deadline_s: float | None, body: Mapping[str, Any]
) -> Call[T]:
    return Call(
        "POST",
        f"/api/v1/monitoring/explain{path}",
        answer,
        json=given(**body),
        repeatable=True,
        deadline=True,
        timeout_s=deadline_s,
    )


class Monitoring(_Monitoring, SyncResource):
    """Drift, for the sync client."""


class AsyncMonitoring(_Monitoring, AsyncResource):
    """Drift, for the async client."""
