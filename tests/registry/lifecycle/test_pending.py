"""What a change waits for after the registry took it, and what became of a release."""

from dataclasses import replace
from typing import Any

import pytest

from registry.lifecycle.pending import pending_change, pending_release
from registry.records import Event
from registry.releases.outcome import last_outcome


def entry(action: str, before: Any = None, after: Any = None, **more: Any) -> Event:
    fields = {"aliases": {"champion": 1}}
    begun: dict[str, Any] = {
        "model": "mood",
        "seq": 7,
        "at_s": 1.0,
        "version": 2,
        "actor": "ana",
        "reason": "why",
        "gate": {},
        "digest": "",
        "previous": "",
        "nonce": "",
    }
    return Event(action=action, before=before or fields, after=after or fields, **begun | more)


@pytest.mark.parametrize(
    ("before", "after", "role"),
    [
        ({"champion": 1}, {"champion": 2, "previous": 1}, "champion"),
        ({"champion": 1}, {"champion": 1, "challenger": 2}, "challenger"),
        ({"champion": 1}, {"champion": 1, "shadow": 2}, "shadow"),
        ({"champion": 1, "challenger": 2}, {"champion": 2}, "champion"),
    ],
)
def test_a_moved_role_waits_for_a_probe(before: Any, after: Any, role: str) -> None:
    told = pending_change(entry("x", {"aliases": before}, {"aliases": after}))
    assert told is not None
    assert f"before it is {role};" in told
    assert ("rollout.max_slowdown" in told) == (role != "shadow")
    assert "GET /api/v1/models/mood/audit" in told


@pytest.mark.parametrize(
    ("before", "after"),
    [({}, {"champion": 1}), ({"shadow": 2}, {}), ({"champion": 1}, {"champion": 1})],
)
def test_what_no_server_refuses_waits_for_nothing(before: Any, after: Any) -> None:
    assert pending_change(entry("x", {"aliases": before}, {"aliases": after})) is None
    assert pending_change(entry("approve", {}, {"x": 1})) is None


def test_what_became_of_the_last_release() -> None:
    begun = entry("release_start", after={"release": {"version": 2}})
    step = replace(begun, seq=8, action="release_step")
    assert "sentigraph release mood" in pending_release(begun)
    assert last_outcome([begun, step]) is None
    ends = {"promote": "promoted", "release_rollback": "rolled back", "release_abort": "aborted"}
    for action, outcome in ends.items():
        over = entry(action, after={"release": None}, seq=9, reason="slow")
        later = entry("approve", after={"approved": True}, seq=10)
        found = last_outcome([begun, step, over, later])
        assert found is not None
        assert (found.id, found.outcome, found.reason) == (7, outcome, "slow")
        assert str(found) == f"the last one, of version 2, was {outcome}: slow"
    assert last_outcome([entry("promote", after={"release": None})]) is None
