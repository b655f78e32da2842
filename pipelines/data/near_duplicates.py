"""Removes near duplicates before the split, so that no test text has a twin in training.

Comes before `data`'s split. Texts are compared as sets of character 5-grams of their lower-cased
letters and digits; MinHash finds candidate pairs (Broder, "On the resemblance and containment of
documents", 1997) and the exact Jaccard similarity decides.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from datasketch import MinHash, MinHashLSH

from pipelines.data.table import Row
from pipelines.progress import progress

SIMILARITY = 0.7
GRAM = 5
PERMUTATIONS = 64
# Candidates are sought a little below the threshold, because MinHash only estimates the similarity
# that is then computed.
CANDIDATE_SIMILARITY = 0.6

_NOT_WORD = re.compile(r"[\W_]+")


def normalised(text: str) -> str:
    """Returns the text's letters and digits in lower case, words separated by one space."""
    return _NOT_WORD.sub(" ", text.casefold()).strip()


def text_digest(text: str) -> str:
    """Returns the sha256 of the normalised text; of the text itself where it has no letter or
    digit, as emoticons have none.
    """
    return hashlib.sha256((normalised(text) or text.strip()).encode()).hexdigest()


def without_near_duplicates(rows: Sequence[Row]) -> tuple[list[Row], int]:
    """Returns the rows in their order, each group of near duplicates reduced to its first row, and
    how many of the others had another label than the row that stays.

    Two texts are near duplicates from a Jaccard similarity of 0.7 of their 5-grams on. Groups are
    not chained: a row goes only if it is near a row that stays.
    """
    index = MinHashLSH(threshold=CANDIDATE_SIMILARITY, num_perm=PERMUTATIONS)
    kept: list[Row] = []
    grams: list[frozenset[bytes]] = []
    conflicting = 0
    for row in progress(rows, desc="near duplicates", unit="texts"):
        own = _grams(row.text)
        sketch = MinHash(num_perm=PERMUTATIONS, seed=1)
        sketch.update_batch(sorted(own))
        near = (n for n in index.query(sketch) if _jaccard(own, grams[n]) >= SIMILARITY)
        twins = [kept[number] for number in near]
        if twins:
            conflicting += row.label is not None and row.label not in {t.label for t in twins}
            continue
        index.insert(len(kept), sketch)
        kept.append(row)
        grams.append(own)
    return kept, conflicting


def _grams(text: str) -> frozenset[bytes]:
    whole = normalised(text) or text.strip()
    padded = f" {whole} "
    return frozenset(
        padded[at : at + GRAM].encode() for at in range(max(1, len(padded) - GRAM + 1))
    )


def _jaccard(left: frozenset[bytes], right: frozenset[bytes]) -> float:
    return len(left & right) / len(left | right)
