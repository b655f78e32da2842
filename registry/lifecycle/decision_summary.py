"""The last decision about a version, as Markdown for its description in the MLflow UI."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from registry.records import Event

_MARK = "\n\n---\n\n**Registry:** "
_EARLIER = "\n\n**Before that:** "
_TABLE = "\n\n| gate | | |\n|---|---|---|"
_MAX_CHARS = 5_000


def own_description(text: str) -> str:
    """The part of a description that a person wrote."""
    return text.partition(_MARK)[0]


def with_summary(text: str, event: Event) -> str:
    """A description that ends with a summary of ``event``; the part that a person wrote stays.

    So does the last table of a gate, beneath an event that has none: a rollback, for example.
    """
    own, _, last = text.partition(_MARK)
    when = time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(event.at_s))
    summary = f"{event.action} by {_plain(event.actor)}, {when} (audit entry {event.seq})"
    if event.reason:
        summary += f": {_plain(event.reason)}"
    rows: Sequence[Mapping[str, Any]] = event.gate.get("checks", ())
    if rows:
        summary += _TABLE
    for row in rows:
        verdict = "passed" if row["passed"] else "**failed**"
        summary += f"\n| {_plain(row['name'])} | {verdict} | {_plain(row['reason'])} |"
    head, _, earlier = last.partition(_EARLIER)
    gated = head if _TABLE in head else earlier
    if gated and not rows:
        summary += f"{_EARLIER}{gated}"
    left = _MAX_CHARS - len(_MARK) - len(summary)
    return f"{own[: max(0, left)]}{_MARK}{summary}"[:_MAX_CHARS]


def release_summary(event: Event) -> str | None:
    """One line about the release after an entry; None when none is under way."""
    release = event.after.get("release")
    if release is None:
        return None
    step, weight = release["step"], release["steps"][release["step"]]
    traffic = f"{'shadow of' if step == 0 else 'answers'} {weight:.4g} of the traffic"
    held = f"; held: {release['held']}" if release["held"] else ""
    where = f"step {step + 1} of {len(release['steps'])}"
    return f"version {release['version']}, {where}: {traffic}{held}"


def _plain(text: str) -> str:
    """Text escaped for a cell of a Markdown table."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in text.replace("\n", " "))
