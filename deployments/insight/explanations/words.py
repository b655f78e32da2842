"""A text's words, as slices of it. Pure.

White space ends a word. Runs of scripts that need none are cut into groups of a few characters. A
character keeps the marks, selectors and joiners that follow it, so no emoji is taken apart.
Offsets count code points, as Python does; languages with UTF-16 strings count some twice.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_SPAN = re.compile(r"\S+")
# The look back keeps it linear: else each mark of a long row would be tried as its first.
_SENTENCE_END = re.compile(
    r"(?<![.!?\u2026\u3002\uff01\uff1f])[.!?\u2026\u3002\uff01\uff1f]+[\"'\u201d\u2019)\]]*$"
)
# Characters of one group in a script without spaces.
_GROUP = 4
_UNSPACED = (
    (0x0E00, 0x0EFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x2E80, 0x303F),
    (0x3040, 0x30FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3134F),
)
_ZERO_WIDTH_JOINER = "\u200d"


@dataclass(frozen=True, slots=True)
class Word:
    """``text[start:end]``."""

    start: int
    end: int


def words_of(text: str) -> list[Word]:
    """All words: ordered, disjoint, together everything but white space."""
    found: list[Word] = []
    for span in _SPAN.finditer(text):
        found += _cut(text, span.start(), span.end())
    return found


def without(text: str, words: Sequence[Word], kept: Sequence[bool]) -> str:
    """The text of the words that are kept, each with the white space that follows it."""
    parts = []
    for index, word in enumerate(words):
        if kept[index]:
            end = words[index + 1].start if index + 1 < len(words) else word.end
            parts.append(text[word.start : end])
    return "".join(parts).strip()


def groups_of(text: str, words: Sequence[Word], most: int, longest: int) -> list[range]:
    """Neighbours together: sentences, in runs of at most ``longest`` words; at most ``most``."""
    longest = max(longest, -(-len(words) // most))
    runs: list[range] = []
    start = 0
    for index, word in enumerate(words):
        ends = _SENTENCE_END.search(text[word.start : word.end]) is not None
        if index + 1 == len(words) or ends or index + 1 - start == longest:
            runs.append(range(start, index + 1))
            start = index + 1
    while len(runs) > most:
        shortest = min(range(len(runs) - 1), key=lambda i: len(runs[i]) + len(runs[i + 1]))
        runs[shortest : shortest + 2] = [range(runs[shortest].start, runs[shortest + 1].stop)]
    return runs


def _cut(text: str, start: int, end: int) -> Iterator[Word]:
    begun, characters, unspaced = start, 0, False
    for position in range(start, end):
        if position > start and _belongs(text, position):
            continue
        is_unspaced = _is_unspaced(text[position])
        full = is_unspaced and characters == _GROUP
        if position > begun and (is_unspaced != unspaced or full):
            yield Word(begun, position)
            begun, characters = position, 0
        unspaced = is_unspaced
        characters += 1
    yield Word(begun, end)


def _belongs(text: str, position: int) -> bool:
    """Whether a character goes with the one before."""
    char = text[position]
    return (
        unicodedata.category(char)[0] == "M"
        or char == _ZERO_WIDTH_JOINER
        or text[position - 1] == _ZERO_WIDTH_JOINER
    )


def _is_unspaced(char: str) -> bool:
    point = ord(char)
    return any(first <= point <= last for first, last in _UNSPACED)
