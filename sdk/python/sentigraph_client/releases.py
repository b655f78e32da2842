"""Automatic releases: shadow, canary steps, promotion."""

from sentigraph_client._call import AsyncResource, Call, SyncResource, filled, operation
from sentigraph_client._models import ChangeBody, EventBody, ReleaseBody

_RELEASE = "/api/v1/models/{}/release"


class _Releases:
    @operation("start_release")
    def start(self, model: str, version: str, *, reason: str = "") -> Call[ChangeBody]:
        """Begins a release by the model's policy; ``Conflict`` while another is under way."""
        path = filled("/api/v1/models/{}/versions/{}/release", model, version)
        return Call("POST", path, ChangeBody, json={"reason": reason})

    @operation("release_status")
    def status(self, model: str) -> Call[ReleaseBody]:
        """The release under way with every test's state; ``NotFound`` when there is none."""
        return Call("GET", filled(_RELEASE, model), ReleaseBody)

    @operation("hold_release")
    def hold(self, model: str, *, reason: str) -> Call[EventBody]:
        """Stays in the present step; the tests go on and may still roll back."""
        return _change(model, "hold", reason)

    @operation("resume_release")
    def resume(self, model: str, *, reason: str = "") -> Call[EventBody]:
        """Continues a release that is held."""
        return _change(model, "resume", reason)

    @operation("abort_release")
    def abort(self, model: str, *, reason: str) -> Call[EventBody]:
        """Ends the release; the version loses its slots and stays in staging."""
        return _change(model, "abort", reason)


def _change(model: str, action: str, reason: str) -> Call[EventBody]:
    path = filled(f"{_RELEASE}/{action}", model)
    return Call("POST", path, EventBody, json={"reason": reason})


class Releases(_Releases, SyncResource):
    """Releases of the sync client."""


class AsyncReleases(_Releases, AsyncResource):
    """Releases of the async client."""
