"""What the model has to beat: a sentiment lexicon, and a linear model on word counts.

Run by `evaluate` on the same splits as the model. VADER (Hutto & Gilbert 2014) needs no training
and knows only negative and positive; TF-IDF with logistic regression learns any classes from the
labelled training texts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from pipelines.data.icwsm import LABELS
from pipelines.data.table import Row


def vader_fits(labels: Sequence[str]) -> bool:
    """Returns whether the classes are those that the lexicon knows, in any case of letters."""
    return tuple(label.upper() for label in labels) == LABELS


def vader_classes(texts: Sequence[str]) -> npt.NDArray[np.int64]:
    """Returns [texts] classes: 1 (positive) where the compound score is above zero or exactly zero,
    else 0.
    """
    analyser = SentimentIntensityAnalyzer()
    return np.array(
        [int(analyser.polarity_scores(text)["compound"] >= 0.0) for text in texts], dtype=np.int64
    )


class TfidfBaseline:
    """Word and word-pair weights with logistic regression."""

    def __init__(self, train: Sequence[Row], labels: Sequence[str]) -> None:
        self._model = make_pipeline(
            TfidfVectorizer(
                ngram_range=(1, 2),
                sublinear_tf=True,
                min_df=2,
                # A pattern of text tokens, not a secret: also "!" and ":)".
                token_pattern=r"(?u)\b\w+\b|[^\w\s]+",  # noqa: S106
            ),
            LogisticRegression(C=4.0, max_iter=1000),
        )
        self._model.fit(
            [row.text for row in train], [labels.index(str(row.label)) for row in train]
        )

    def logits(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """Returns [texts, labels] log probabilities; softmax makes probabilities of them again."""
        scores: npt.NDArray[np.float64] = self._model.predict_log_proba(list(texts))
        return scores
