"""An explanation as one HTML page: no script, nothing loaded, every value escaped. Pure."""

import base64
import hashlib
import unicodedata
from html import escape

from deployments.insight.explanations.schemas import ExplainedWord, Explanation

# One class for each strength; no text ever reaches a style or an attribute.
_STEPS = 5
_AGAINST = ("#f3c9b3", "#eaa27f", "#df7c50", "#c9551f", "#9a3b10")
_FOR = ("#cbdff1", "#9fc5e8", "#6fa8dc", "#3d85c6", "#0b5394")
_STYLE = (
    "body{font:16px/1.9 system-ui,sans-serif;margin:2rem auto;max-width:50rem;padding:0 1rem}"
    "bdi{border-radius:3px;padding:.1rem .15rem}.note{color:#555}code{color:#a00}"
    + "".join(
        f".n{i + 1}{{background:{a};color:{'#fff' if i > 2 else '#000'}}}"
        f".p{i + 1}{{background:{b};color:{'#fff' if i > 2 else '#000'}}}"
        for i, (a, b) in enumerate(zip(_AGAINST, _FOR, strict=True))
    )
    + ".p0{background:none}.cut{color:#888;text-decoration:line-through}"
)
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
# The ingress adds those that all answers have.
HEADERS = {
    "content-security-policy": f"default-src 'none'; style-src 'sha256-{_DIGEST}'; sandbox",
}
_WHITE = "\n\t "


def page(found: Explanation) -> str:
    """The page."""
    most = max((abs(word.contribution) for word in found.words), default=0.0)
    parts, end = [], 0
    for word in found.words:
        parts.append(shown(found.text[end : word.start]))
        parts.append(_word(word, most))
        end = word.end
    parts.append(shown(found.text[end:]))
    title = f"{found.prediction} ({found.confidence:.3f})"
    of = f"{found.model_name} version {found.model_version}, {found.method}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{shown(title)}</h1>"
        f"<p>{shown(found.summary)}</p><p>{''.join(parts)}</p>"
        f'<p class="note">Blue and + speak for the label, orange and - against it. {shown(of)}; '
        f"{found.evaluations} texts asked.</p></body></html>"
    )


def shown(text: str) -> str:
    """Escaped; characters that cannot be seen or that turn the direction are shown as codes."""
    return "".join(
        f"<code>U+{ord(char):04X}</code>" if _is_hidden(char) else escape(char) for char in text
    )


def _is_hidden(char: str) -> bool:
    return char not in _WHITE and unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _word(word: ExplainedWord, most: float) -> str:
    if not word.seen:
        return f'<bdi class="cut">{shown(word.text)}</bdi>'
    step = round(_STEPS * abs(word.contribution) / most) if most else 0
    sign = "+" if word.contribution > 0 else "-"
    name = "p0" if not step else f"{'p' if sign == '+' else 'n'}{step}"
    mark = f"<sup>{sign}</sup>" if step else ""
    return f'<bdi class="{name}">{shown(word.text)}{mark}</bdi>'
