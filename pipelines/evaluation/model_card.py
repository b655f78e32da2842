"""The model card: every figure comes from the evaluation that wrote it, none is typed by hand.

Called by `evaluate`. The words about data and licences belong to the bundled ICWSM-14 model; a
model trained on another file gets a card about that file, with limits by its figures and its
owner.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from pipelines.data.icwsm import NEUTRAL_BELOW
from pipelines.data.table import Manifest, Table
from pipelines.evaluation.report import SystemReport, accuracy_table, as_markdown, calibration_table
from pipelines.evaluation.shortcomings import shortcomings
from registry.records import Bundle

ICWSM = "ICWSM-14"

_CARD = Template("""# Model card: $name

$summary `$command` runs every step anew. The figures in the
tables below were written by its evaluation step; none was typed by hand.

| | |
|---|---|
| labels | $labels |
| input | one text, at most $max_tokens tokens (longer ones are cut at the end) |
| format | ONNX, 8-bit weights, $size_mb MB; inputs input_ids and attention_mask, output logits |
| base model | $base (sha256 $base_sha) |
| dataset digest | `$dataset_digest` |
| recipe digest | `$recipe_digest` |
| tools | $tools |

## Data

$data

Before the split, $removed near duplicates (Jaccard similarity of character 5-grams from 0.7) were
removed$conflicts. A text's split follows from the sha256 of its normalised letters; $groups: $train
for training, $validation for validation (choice of epoch, temperature), $test for test.

## Recipe

$start with $pooling; at most $epochs epochs, of which number
$best_epoch was best on validation (macro average $validation_accuracy); $minutes minutes of
training on the CPU of the machine that made it. Word vectors are frozen, lower layers learn more
slowly, weights are averaged over steps, 6 % of tokens are masked in half of the texts, and
punctuation after words is dropped from a fifth of them. Settings:

`$recipe`
$note
## Accuracy on held-out texts

Percent with 95 % Wilson intervals; number of test texts in the header. All systems saw the same
splits; the models were run with the serving tokenizer and engine.

$accuracy

INT8 minus FP32, in points: $int8_cost. INT8 keeps FP32's label on $agreement of the validation
texts; FP32 differs from torch by at most $difference in a logit. $company
$probe
## Calibration

The temperature is fitted on validation by likelihood (Guo et al., ICML 2017, smoothed as in
Platt, 1999) and divides the
logits. ECE has 15 equal-width bins of confidence; NLL is in nats; the Brier score is summed over
classes.

$calibration

## Limits

$limits

## Licences

$licences
""")

_COMPANY = {
    True: Template("""INT8 has constant activation scales, taken
from training texts, so a text's score does not depend on its batch mates: in a batch instead of
alone, the probability (at temperature 1) of 99 % of the texts moves by at most $p99, and $flips
of the labels change."""),
    False: Template("""INT8 scales activations over
the whole batch, so a text's score depends a little on its batch mates: scored alone instead of in
a batch, the probability (at temperature 1) of half of the texts moves by less than $median, of
99 % by less than $p99, and $flips of the labels change. The server therefore runs it one text at
a time (`batching.reproducible_scores`), and so did this evaluation."""),
}

_PROBE = Template("""
### Plain sentences

$count everyday sentences written by hand for this project (`pipelines/data/everyday_texts.py`:
reviews, support tickets, negation, contrast). Nothing was trained, tuned or chosen on them.
Sentences right, percent: $results. With so few the interval is wide ($low-$high for
$system).
""")

_ICWSM_DATA = Template("""The ICWSM-14 ground truth (Hutto & Gilbert, "VADER: A Parsimonious
Rule-based Model for Sentiment Analysis of Social Media Text", ICWSM 2014), taken from the source
archive of vaderSentiment 0.5 on PyPI: $rows_read entries, of which sentences from film reviews
(movies), product reviews (products), tweets and New York Times editorials, each rated by 15 or more
people from -4 to 4, and the words and emoticons of the VADER lexicon, rated by ten. The label is
the sign of the mean rating where it is at least $neutral from zero. Training uses the share of
raters on the positive side as its target, also for texts nearer to zero and for lexicon entries (a
quarter of the weight, training only); neither of those is ever scored.""")

_ICWSM_LIMITS = """- English only; written for single sentences and short paragraphs. Texts of
  several hundred words are cut.
- Two classes and no neutral one: a text without sentiment gets a score near one half, and some
  label.
- The film sentences are those that SST and MR are made of. No figure on SST-2 or MR may be claimed
  for this model: it has seen their test sentences.
- The texts date from before 2014. Later slang and emoji are unknown to it; the emoji themselves are
  not in its vocabulary.
- The epoch and the temperature were chosen on validation; the test split is small, so read the
  intervals, not the last digit.
- It was not examined for bias towards groups of people. Do not use it to judge persons."""

_ICWSM_LICENCES = """- Base model all-MiniLM-L6-v2: Apache-2.0 (sentence-transformers), made from
  Microsoft's MiniLM: MIT.
- ICWSM-14 texts, ratings and lexicon: distributed with vaderSentiment 0.5 under the MIT licence;
  cite Hutto & Gilbert 2014. The texts remain their authors'; none is part of the model's files.
- The fine-tuned weights: Apache-2.0, as this repository."""

_OTHER = "Those of the base model and of the data; their owners know them."

_GROUPS = {
    True: """all sentences of one
editorial and of one group of product reviews go where its number's sha256 says, so no document is
on both sides""",
    False: "texts with one value in the column group go together",
}


@dataclass(frozen=True, slots=True)
class Card:
    """What the card is written from.

    Attributes:
        bundle: The bundle that is served.
        reports: All systems; the first is the bundle, the second its FP32 form.
        conversion: Figures of `export`, by name.
        manifest: The dataset's.
        table: The texts.
        limits: What the owner says of the model's limits, Markdown; empty for nothing.
    """

    bundle: Bundle
    reports: Sequence[SystemReport]
    conversion: Mapping[str, float]
    manifest: Manifest
    table: Table
    limits: str = ""


def write_card(path: Path, card: Card) -> None:
    """Writes the card as Markdown."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(card))


def render(card: Card) -> str:
    """Returns the card's Markdown."""
    bundle, facts, manifest = card.bundle, card.bundle.provenance, card.manifest
    own = manifest.origin == ICWSM
    recipe = json.loads(facts.get("recipe", "{}"))
    data = f"`{manifest.origin}`: {manifest.rows_read:,} labelled texts."
    if own:
        data = _ICWSM_DATA.substitute(rows_read=f"{manifest.rows_read:,}", neutral=NEUTRAL_BELOW)
    return _CARD.substitute(
        name=bundle.name,
        summary=f"A classifier of short texts into {' and '.join(bundle.labels)}."
        if own
        else f"A classifier of texts into {len(bundle.labels)} classes.",
        command="make train" if own else "sentigraph pipeline",
        labels=", ".join(bundle.labels),
        max_tokens=bundle.max_tokens,
        size_mb=f"{bundle.files['model.onnx'][1] / 1e6:.1f}",
        base=facts.get("base", "unknown"),
        base_sha=f"`{facts.get('base_sha256', 'unknown')}`",
        dataset_digest=manifest.digest,
        recipe_digest=facts.get("recipe_digest", "unknown"),
        tools=", ".join(
            f"{tool} {facts[tool]}"
            for tool in ("torch", "transformers", "onnx", "onnxruntime")
            if tool in facts
        ),
        data=data,
        removed=f"{manifest.near_duplicates_removed:,}",
        conflicts=f", {manifest.conflicting_labels_removed:,} of them with another label than the "
        "text that was kept"
        if manifest.conflicting_labels_removed
        else "",
        train=f"{manifest.rows['train']:,}",
        validation=f"{manifest.rows['validation']:,}",
        test=f"{manifest.rows['test']:,}",
        groups=_GROUPS[own],
        start=f"Fine-tuning of {facts['from']}" if "from" in facts else "Full fine-tuning",
        pooling="mean pooling and a linear head"
        if facts.get("kind") == "mean-pool"
        else "the base model's own head",
        best_epoch=facts.get("best_epoch", "?"),
        epochs=recipe.get("epochs", "?"),
        validation_accuracy=facts.get("validation_macro_accuracy", "?"),
        note=f"\n{facts['note']}\n" if "note" in facts else "",
        company=_COMPANY[bundle.engine.batch_invariant].substitute(
            median=f"{card.conversion['batch_shift_median']:.2g}",
            p99=f"{card.conversion['batch_shift_p99']:.2g}",
            flips=f"{card.conversion['batch_flips']:.1%}",
        ),
        minutes=facts.get("training_minutes", "?"),
        recipe=facts.get("recipe", "unknown"),
        accuracy=as_markdown(accuracy_table(card.reports)),
        int8_cost=_int8_cost(card.reports[0], card.reports[1]),
        agreement=f"{card.conversion['int8_agreement']:.2%}",
        difference=f"{card.conversion['torch_difference']:.0e}",
        probe=_probe(card.reports),
        calibration=as_markdown(calibration_table(card.reports)),
        limits=_shortcomings(card) + (_ICWSM_LIMITS if own else _limits(card)),
        licences=_ICWSM_LICENCES if own else _OTHER,
    )


def _int8_cost(int8: SystemReport, fp32: SystemReport) -> str:
    points = {
        domain: 100 * (int8.domains[domain].value - fp32.domains[domain].value)
        for domain in int8.domains
    }
    return ", ".join(f"{domain} {value:+.1f}" for domain, value in points.items())


def _probe(reports: Sequence[SystemReport]) -> str:
    first = reports[0].probe
    if first is None:
        return ""
    results = ", ".join(
        f"{report.system} {100 * report.probe.value:.0f}"
        for report in reports
        if report.probe is not None
    )
    return _PROBE.substitute(
        count=first.texts,
        results=results,
        low=f"{100 * first.low:.0f}",
        high=f"{100 * first.high:.0f}",
        system=reports[0].system,
    )


def _shortcomings(card: Card) -> str:
    found = shortcomings(card.reports[0].figures, card.bundle.provenance)
    return "".join(f"- {one[0].upper()}{one[1:]}.\n" for one in found)


def _limits(card: Card) -> str:
    """What the figures say of the limits, and what the owner does."""
    figures, table = card.reports[0].figures, card.table
    counts = Counter(row.label for row in table.of("train"))
    rare, often = min(counts, key=lambda c: counts[c]), max(counts, key=lambda c: counts[c])
    worst = min(figures.labels, key=lambda one: one.f1)
    accuracy = figures.accuracy
    said = [
        f"- The test split has {accuracy.texts:,} texts: the accuracy is known to lie within "
        f"{100 * accuracy.low:.1f}-{100 * accuracy.high:.1f} %, no better.",
        f"- In training {rare} has {counts[rare]:,} texts and {often} {counts[often]:,}.",
        f"- Weakest label: {worst.label}, with precision {worst.precision:.2f} and recall "
        f"{worst.recall:.2f} on {worst.texts:,} texts.",
        f"- Texts of more than {card.bundle.max_tokens} tokens are cut.",
    ]
    if any(report.system.startswith("champion") for report in card.reports):
        said.append(
            "- The champion was trained on other splits, so it may have seen some of these texts."
        )
    said.append(card.limits or "- Nothing else is stated; `--limits FILE` adds to this list.")
    return "\n".join(said)
