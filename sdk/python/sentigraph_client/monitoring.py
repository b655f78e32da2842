"""Drift of texts and answers: state, check, report, events; acknowledge it, take a new reference.

Every method is about the champion unless another version's digest is given.
"""

from sentigraph_client._call import AsyncResource, Call, SyncResource, given, operation
from sentigraph_client._models import Changed, DriftCheck, DriftSummary, Events

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


class Monitoring(_Monitoring, SyncResource):
    """Drift, for the sync client."""


class AsyncMonitoring(_Monitoring, AsyncResource):
    """Drift, for the async client."""
