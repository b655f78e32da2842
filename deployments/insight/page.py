"""The drift report as one HTML page: no script, nothing loaded, every value escaped."""

import base64
import hashlib
from datetime import UTC, datetime
from html import escape

from deployments.insight.schemas import DriftCheck, SignalBody
from deployments.insight.watched import Watched

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:64rem;padding:0 1rem}
table{border-collapse:collapse;width:100%}th,td{padding:.35rem .6rem;border-bottom:1px solid #ccc;
text-align:right}th:first-child,td:first-child{text-align:left}.drifted{background:#f8d0c8}
.changed{background:#fbeec2}.note{color:#555}svg{vertical-align:middle}"""
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
HEADERS = {
    "content-security-policy": f"default-src 'none'; style-src 'sha256-{_DIGEST}'; sandbox",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}
_COLUMNS = (
    "signal",
    "level",
    "evidence",
    "moved most",
    "reference",
    "window",
    "PSI",
    "PSI by chance",
    "distance",
    "p (Holm)",
    "texts",
)
_BAR = 80


def page(found: Watched, check: DriftCheck) -> str:
    """The page of one version's window."""
    title = f"Drift of {found.name} {found.version}"
    rows = "".join(_row(name, row) for name, row in check.statistical_tests.items())
    head = "".join(f"<th>{escape(column)}</th>" for column in _COLUMNS)
    made = datetime.fromtimestamp(check.timestamp, UTC).isoformat(" ", "seconds")
    since = datetime.fromtimestamp(found.reference_s, UTC).isoformat(" ", "seconds")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}'
        f"</title><style>{_STYLE}</style></head><body><h1>{escape(title)}: "
        f"{escape(check.verdict)}</h1><p>{escape(made)}, model {escape(found.digest[:12])}. "
        f"Reference: {escape(found.reference_kind.replace('_', ' '))}, of {escape(since)}.</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        '<p class="note">Evidence of 1 is an alarm, however often it is read. PSI, distance and p '
        "describe the window of latest texts and alarm nothing; * marks those beyond their "
        "setting.</p></body></html>"
    )


def _row(name: str, row: SignalBody) -> str:
    mark = "*" if row.marked else ""
    width = min(_BAR, round(row.evidence * _BAR))
    bar = (
        f'<svg width="{_BAR}" height="10" role="img" aria-label="evidence">'
        f'<rect width="{_BAR}" height="10" fill="#ddd"/><rect width="{width}" height="10"/></svg>'
    )
    cells = (
        escape(name),
        escape(row.level),
        f"{bar} {row.evidence:.2f}",
        escape(row.measure),
        f"{row.mean_reference:.3f}",
        f"{row.mean:.3f}",
        f"{row.psi:.3f}{mark}",
        f"{row.psi_expected:.3f}",
        f"{row.ks_d:.3f}",
        f"{row.p_holm:.3g}{mark}",
        str(row.n),
    )
    return f'<tr class="{row.level}">' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
