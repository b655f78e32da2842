"""Reads the ICWSM-14 ground truth: short texts of four domains, each rated by about 20 people.

Comes after `sources` (the archive) and before `data` (duplicates and split). Source: Hutto &
Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text", ICWSM
2014. Ratings run from -4 to 4. A text's label is the sign of its mean rating; its target is the
share of raters on the positive side, which tells a torn jury from a clear one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from pipelines.data.sources import VADER, fetch, unpack, verify
from pipelines.data.table import Row
from pipelines.errors import SourceError

ARCHIVE = "vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz"
ARCHIVE_SHA256 = "d5bb07d87474b3eb8d30b4deccbc23f19d742a6c5718fbacc65485b70b95c5fa"
FOLDER = "hutto_ICWSM_2014"
STEMS = {
    "movies": "movieReviewSnippets",
    "products": "amazonReviewSnippets",
    "tweets": "tweets",
    "editorials": "nytEditorialSnippets",
}
LEXICON = "lexicon"
NEGATIVE, POSITIVE = "NEGATIVE", "POSITIVE"
LABELS = (NEGATIVE, POSITIVE)
NEUTRAL_BELOW = 0.3


def read_icwsm(cache: Path) -> list[Row]:
    """Returns every rated text and lexicon entry, in file order.

    Texts whose mean rating is within 0.3 of zero carry a target and no label: they teach the middle
    of the scale and are never scored. Lexicon entries are single words and emoticons with ratings
    of their own; they are for training alone.

    Raises:
        SourceError: The archive is not the pinned one, or a line does not have its columns.
    """
    outer = unpack(fetch(VADER, cache), cache / "vaderSentiment-0.5")
    archive = outer / ARCHIVE
    verify(archive, ARCHIVE_SHA256)
    folder = unpack(archive, cache / FOLDER) / FOLDER
    rows = [row for domain, stem in STEMS.items() for row in _read_domain(folder, domain, stem)]
    return rows + list(_read_lexicon(folder / "vader_sentiment_lexicon.txt"))


def positive_share(ratings: list[int]) -> float:
    """Returns the share of raters above zero, a zero counting half, in [0, 1]."""
    return sum(1.0 if rating > 0 else 0.5 if rating == 0 else 0.0 for rating in ratings) / len(
        ratings
    )


def label_of(mean_rating: float) -> str | None:
    """Returns the sign of a mean rating, or None within 0.3 of zero: the raters did not lean."""
    if abs(mean_rating) < NEUTRAL_BELOW:
        return None
    return POSITIVE if mean_rating > 0 else NEGATIVE


def _read_domain(folder: Path, domain: str, stem: str) -> Iterator[Row]:
    shares = {
        key: positive_share(json.loads(cells[2]))
        for key, cells in _lines(folder / f"{stem}_anonDataRatings.txt", 4)
    }
    for key, (mean_rating, text) in _lines(folder / f"{stem}_GroundTruth.txt", 3):
        if key not in shares:
            raise SourceError(f"{stem}: text {key} has no ratings")
        # Sentences of one article or review are numbered behind its own number: 12_3.
        document, _, sentence = key.partition("_")
        yield Row(
            text=text,
            label=label_of(float(mean_rating)),
            target=shares[key],
            domain=domain,
            group=f"{domain} {document}" if sentence else "",
        )


def _read_lexicon(path: Path) -> Iterator[Row]:
    for entry, (_, _, ratings) in _lines(path, 4):
        yield Row(
            text=entry, label=None, target=positive_share(json.loads(ratings)), domain=LEXICON
        )


def _lines(path: Path, columns: int) -> Iterator[tuple[str, list[str]]]:
    """Yields (first cell, other cells) of each line."""
    for number, raw in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not raw.strip():
            continue
        # The archive calls itself latin-1, but its accented words are UTF-8; only a few lines are
        # truly latin-1.
        try:
            line = raw.decode("utf-8-sig")
        except UnicodeDecodeError:
            line = raw.decode("latin-1")
        cells = line.rstrip("\r").split("\t", columns - 1)
        if len(cells) != columns:
            raise SourceError(
                f"{path.name}, line {number}: {len(cells)} columns, expected {columns}"
            )
        yield cells[0], cells[1:]
