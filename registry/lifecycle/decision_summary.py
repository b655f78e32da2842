"""The last decision about a version, as Markdown for its description in the MLflow UI."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from registry.records import Event

_MARK = "\n\n---\n\n**Registry:** "
_MAX_CHARS = 5_000


def own_description(text: str) -> str:
    """The part of a description that a person wrote."""
    return text.partition(_MARK)[0]


def with_summary(text: str, event: Event) -> str:
    """A description whose last part tells of ``event``; what a person wrote stays."""
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(event.at_s))
    told = f"{event.action} by {_plain(event.actor)}, {when} (audit entry {event.seq})"
    if event.reason:
        told += f": {_plain(event.reason)}"
    rows: Sequence[Mapping[str, Any]] = event.gate.get("checks", ())
    if rows:
        told += "\n\n| gate | | |\n|---|---|---|"
    for row in rows:
        verdict = "passed" if row["passed"] else "**failed**"
        told += f"\n| {_plain(row['name'])} | {verdict} | {_plain(row['reason'])} |"
    room = _MAX_CHARS - len(_MARK) - len(told)
    return f"{own_description(text)[: max(0, room)]}{_MARK}{told}"[:_MAX_CHARS]


def told_release(event: Event) -> str | None:
    """One line about the release that an entry leaves under way; None when there is none."""
    release = event.after.get("release")
    if release is None:
        return None
    step, weight = release["step"], release["steps"][release["step"]]
    doing = f"{'shadow of' if step == 0 else 'answers'} {weight:.4g} of the traffic"
    held = f"; held: {release['held']}" if release["held"] else ""
    where = f"step {step + 1} of {len(release['steps'])}"
    return f"version {release['version']}, {where}: {doing}{held}"


def _plain(text: str) -> str:
    """Text that neither ends a table cell nor is read as Markdown or HTML."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in text.replace("\n", " "))
