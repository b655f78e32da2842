"""Texts that real inputs have and test sets lack: as long as the model takes, longer, one endless
word, other scripts.

`export` and `import` compare both forms of a model on them, so a wrong limit or an 8-bit range that
was too narrow shows before the model is served.
"""

from __future__ import annotations

from collections.abc import Sequence

from deployments.tokenizer.replica import LoadedTokenizer

WORD_LETTERS = 400
JUDGED = (
    "Служба поддержки ответила быстро, спасибо!",
    "这家餐厅很好我们会再来",
    "الخدمة كانت سيئة جدا",
    "😀😀 great!!! 👍🏽 #love @you http://example.com/?a=1",
    "!!! ??? ... --- ,,, ;;;",
)
CALIBRATING = (
    "Доставка опоздала, и коробка была сломана.",
    "食べ物は美味しかったです。",
    "המלון היה נקי ושקט",
    "😡 worst 💔💔 EVER $$$ 100%",
    "((( ))) [[[ ]]] <br/>",
)


def odd_texts(
    tokenizer: LoadedTokenizer, max_tokens: int, texts: Sequence[str], *, calibrating: bool = False
) -> list[str]:
    """Returns a handful of texts: one of exactly `max_tokens` tokens, one of more, one word of 400
    letters, and short ones in other scripts.

    Args:
        tokenizer: The model's, truncating at `max_tokens`.
        max_tokens: What it truncates at.
        texts: Real ones, from whose words the long ones are made.
        calibrating: Whether other ones are wanted than those that are judged.
    """
    words = " ".join(texts).split() or ["word"]
    letters = "abcdefghijklmnopqrstuvwxyz"
    if calibrating:
        words, letters = words[::-1], letters[::-1]
    # A word is at least one token as a rule; where it is none the text only stays shorter.
    words = words * (1 + max_tokens // len(words))
    longer = [*words, *words]
    return [
        _longest(tokenizer, max_tokens, longer),
        " ".join(longer),
        (letters * WORD_LETTERS)[:WORD_LETTERS],
        *(CALIBRATING if calibrating else JUDGED),
    ]


def _longest(tokenizer: LoadedTokenizer, max_tokens: int, words: Sequence[str]) -> str:
    """The longest beginning of the words that is not truncated, filled up with short words."""
    low, high = 0, len(words)
    while low < high:
        middle = (low + high + 1) // 2
        if _is_cut(tokenizer, " ".join(words[:middle])):
            high = middle - 1
        else:
            low = middle
    text = " ".join(words[:low])
    tokens = len(tokenizer.encode([text]).ids)
    while tokens < max_tokens:
        filled = f"{text} a".strip()
        more = len(tokenizer.encode([filled]).ids)
        if more == tokens or _is_cut(tokenizer, filled):
            break
        text, tokens = filled, more
    return text


def _is_cut(tokenizer: LoadedTokenizer, text: str) -> bool:
    return bool(tokenizer.encode([text]).truncated[0])
