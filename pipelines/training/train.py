"""Second step: fine-tunes every layer of a base model on the table that `data` wrote.

The loss is cross-entropy against the raters' spread, so a torn jury pulls a text to the middle.
Each epoch is measured on the validation split with averaged weights, the best epoch is kept, and
the test split is not read here. `export` comes next.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
import transformers
from torch.optim.swa_utils import AveragedModel

from pipelines.data.icwsm import LEXICON
from pipelines.data.sources import MINILM
from pipelines.data.table import Row, Table, read_manifest, read_table
from pipelines.progress import progress, say
from pipelines.tracking import Run, add_tracking_arguments, open_run
from pipelines.training.batches import Augmentation, Batch, BatchSampler
from pipelines.training.checkpoint import KEPT, check_labels, open_checkpoint
from pipelines.training.classifier import (
    Classifier,
    load_classifier,
    logits_of,
    save_classifier,
)
from pipelines.training.decision_bias import add_offsets, tuned_offsets
from pipelines.training.optimiser import Recipe, averaging, optimiser_for, schedule_for
from pipelines.training.pretrained import Pretrained, minilm_folder, open_pretrained
from pipelines.training.provenance import write_provenance
from pipelines.training.recipe_arguments import add_recipe_arguments, recipe_of
from registry.model_registry import ModelRegistry

BEST = "best"
LEXICON_WEIGHT = 0.25


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `sentigraph train`."""
    parser.add_argument(
        "--data", type=Path, default=Path(".sentigraph/data"), help="folder that `data` wrote"
    )
    parser.add_argument(
        "--out", type=Path, default=Path(".sentigraph/train"), help="folder of the checkpoints"
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(".sentigraph/cache"),
        help="folder of downloaded archives",
    )
    parser.add_argument("--threads", type=int, help="CPU threads (default: all cores)")
    add_recipe_arguments(parser)
    add_tracking_arguments(parser)


def main(args: argparse.Namespace) -> int:
    """Runs the step and prints the best epoch's validation figures; returns the exit status."""
    if args.threads:
        torch.set_num_threads(args.threads)
    table = read_table(args.data)
    recipe = recipe_of(args)
    torch.manual_seed(recipe.seed)
    # The library prints which weights of a head are new, a table on every start.
    transformers.utils.logging.set_verbosity_error()
    if not sys.stderr.isatty():
        transformers.utils.logging.disable_progress_bar()
    facts: dict[str, str] = {}
    if args.source:
        registry = ModelRegistry(args.tracking_uri, args.artifact_root)
        pretrained, facts = open_checkpoint(args.source, registry, args.cache, args.base)
        check_labels(pretrained.spec.labels, table.labels, args.source)
        limit = min(args.max_tokens or pretrained.spec.max_tokens, pretrained.spec.max_tokens)
        pretrained = replace(pretrained, spec=replace(pretrained.spec, max_tokens=limit))
        recipe = replace(recipe, max_tokens=limit)
        base = facts["from"]
    else:
        base = args.base or str(minilm_folder(args.cache))
        pretrained = open_pretrained(base, labels=table.labels, max_tokens=recipe.max_tokens)
    with open_run(
        args.tracking_uri,
        args.artifact_root,
        "train",
        {"dataset_digest": table.digest, "base": Path(base).name},
    ) as run:
        run.params({**asdict(recipe), "base": base, "dataset_digest": table.digest})
        best = train(pretrained, table, recipe, args.out, run)
        facts |= {
            "dataset": read_manifest(args.data).origin,
            "dataset_digest": table.digest,
            "base": Path(base).name if args.base or args.source else MINILM.requirement,
            "base_sha256": pretrained.digest,
            "kind": pretrained.spec.kind,
            "train_run": run.run_id,
            **training_facts(recipe, best),
        }
        write_provenance(args.out / BEST, facts)
        run.folder(args.out / BEST, KEPT)
    print(json.dumps({"checkpoint": str(args.out / BEST), **best}))
    return 0


def training_facts(recipe: Recipe, best: dict[str, float]) -> dict[str, str]:
    """Returns what a bundle says of its training: the recipe and the epoch that was kept."""
    why = stopped_early(recipe, best)
    return {
        **({"stopped_early": why} if why else {}),
        "recipe": json.dumps(asdict(recipe), sort_keys=True),
        "recipe_digest": recipe.digest(),
        "best_epoch": f"{best['epoch']:.0f}",
        "epochs_run": f"{best['epochs_run']:.0f}",
        "validation_macro_accuracy": f"{best['macro_accuracy']:.4f}",
        "training_minutes": f"{best['total_s'] / 60:.1f}",
    }


def stopped_early(recipe: Recipe, best: dict[str, float]) -> str:
    """Returns one sentence on why training ended before its last epoch; empty where it did not."""
    if best["epochs_run"] >= recipe.epochs:
        return ""
    return (
        f"training stopped early, after epoch {best['epochs_run']:.0f} of {recipe.epochs} (step "
        f"{best['steps_run']:.0f}): no epoch after number {best['epoch']:.0f} was better on "
        f"validation, and --patience is {recipe.patience}"
    )


def train(
    pretrained: Pretrained, table: Table, recipe: Recipe, out: Path, run: Run
) -> dict[str, float]:
    """Trains, writes one folder per epoch and `best`, and returns the best epoch's validation
    figures.

    Seeds are fixed: the same machine with the same number of threads repeats the run bit for bit,
    another one nearly.
    """
    torch.manual_seed(recipe.seed)
    random = np.random.default_rng(recipe.seed)
    model, spec = pretrained.model, pretrained.spec
    batcher = BatchSampler(
        pretrained.tokenizer, spec.labels, spec.max_tokens, spec.pad_id, recipe.batch_size
    )
    rows, validation = table.of("train", labelled=False), table.of("validation")
    weights = domain_weights(rows)
    if recipe.class_weights == "balanced":
        weights = weights * label_weights(rows)
    steps = recipe.epochs * -(-len(rows) // recipe.batch_size)
    optimiser = optimiser_for(model, recipe)
    schedule = schedule_for(optimiser, recipe, steps)
    averaged = AveragedModel(model, multi_avg_fn=averaging(recipe.averaging_decay))
    best: dict[str, float] = {}
    started = time.monotonic()
    for epoch in range(1, recipe.epochs + 1):
        model.train()
        losses: list[float] = []
        batches = batcher.shuffled(rows, weights, Augmentation(pretrained.mask_id), random)
        total = steps // recipe.epochs
        for batch in progress(batches, total=total, desc=f"epoch {epoch}", unit="batches"):
            loss = batch_loss(model, batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
            optimiser.step()
            optimiser.zero_grad()
            schedule.step()
            averaged.update_parameters(model)
            losses.append(loss.item())
        measured = measure(averaged.module, batcher, validation)
        measured |= {"train_loss": float(np.mean(losses)), "epoch": float(epoch)}
        run.metrics(measured, step=epoch)
        _show(measured)
        save_classifier(out / f"epoch-{epoch}", averaged.module, spec, pretrained.tokenizer)
        if not best or rank(measured) > rank(best):
            best = measured
            save_classifier(out / BEST, averaged.module, spec, pretrained.tokenizer)
        best |= {"epochs_run": float(epoch), "steps_run": float(epoch * (steps // recipe.epochs))}
        if epoch - best["epoch"] >= recipe.patience:
            break
    if why := stopped_early(recipe, best):
        say(why)
    if recipe.tune_thresholds:
        best |= _tune(out / BEST, batcher, validation)
    return best | {"total_s": time.monotonic() - started}


def _tune(folder: Path, batcher: BatchSampler, rows: Sequence[Row]) -> dict[str, float]:
    """Moves the best epoch's limits between labels, and measures it again."""
    model, spec, tokenizer = load_classifier(folder)
    batches = batcher.plain(rows)
    found = logits_of(model, [(b.input_ids, b.attention_mask) for b in batches])
    order = [at for batch in batches for at in batch.index]
    truth = np.array([spec.labels.index(str(rows[at].label)) for at in order], dtype=np.int64)
    add_offsets(model, tuned_offsets(torch.cat(found).numpy(), truth))
    save_classifier(folder, model, spec, tokenizer)
    return measure(model, batcher, rows)


def _show(measured: dict[str, float]) -> None:
    figures = json.dumps({key: round(value, 4) for key, value in measured.items()})
    say(figures)


def rank(measured: dict[str, float]) -> tuple[float, float]:
    """Returns what the best epoch is chosen by: macro accuracy, then likelihood."""
    return measured["macro_accuracy"], -measured["nll"]


def batch_loss(model: Classifier, batch: Batch) -> torch.Tensor:
    """Returns the weighted mean cross-entropy between the target distributions and the model's, a
    scalar.

    The sum is divided by the number of rows, not of weights: a batch of light rows takes a light
    step.
    """
    log_scores = torch.log_softmax(model(batch.input_ids, batch.attention_mask), dim=-1)
    return -(batch.weight * (batch.target * log_scores).sum(dim=-1)).mean()


def domain_weights(rows: Sequence[Row]) -> np.ndarray:
    """Returns [rows] float64 loss weights with mean one: halfway, on a log scale, between equal
    texts and equal domains.

    Lexicon entries count a quarter: they widen the vocabulary and must not outweigh sentences.
    """
    domains, inverse, counts = np.unique(
        [row.domain for row in rows], return_inverse=True, return_counts=True
    )
    factor = np.sqrt(1.0 / counts) * np.where(domains == LEXICON, LEXICON_WEIGHT, 1.0)
    weights: np.ndarray = factor[inverse] / factor[inverse].mean()
    return weights


def label_weights(rows: Sequence[Row]) -> np.ndarray:
    """Returns [rows] float64 weights with mean one in which every label has the same sum.

    A row without a label keeps weight one before the mean is taken.
    """
    labels, inverse, counts = np.unique(
        [row.label or "" for row in rows], return_inverse=True, return_counts=True
    )
    factor = np.where(labels == "", 1.0, len(rows) / (len(labels) * counts))
    weights: np.ndarray = factor[inverse] / factor[inverse].mean()
    return weights


def measure(model: Classifier, batcher: BatchSampler, rows: Sequence[Row]) -> dict[str, float]:
    """Returns accuracy per domain, its mean over domains, and the negative log likelihood of the
    labels, in nats.
    """
    batches = batcher.plain(rows)
    hits: dict[str, list[bool]] = {}
    losses: list[float] = []
    for batch, logits in zip(
        batches, logits_of(model, [(b.input_ids, b.attention_mask) for b in batches]), strict=True
    ):
        log_scores = torch.log_softmax(logits, dim=-1)
        truth = [batcher.labels.index(str(rows[at].label)) for at in batch.index]
        for line, at in enumerate(batch.index):
            hits.setdefault(rows[at].domain, []).append(int(logits[line].argmax()) == truth[line])
            losses.append(-float(log_scores[line, truth[line]]))
    accuracy = {
        f"accuracy_{domain}": float(np.mean(values)) for domain, values in sorted(hits.items())
    }
    return {
        **accuracy,
        "macro_accuracy": float(np.mean(list(accuracy.values()))),
        "nll": float(np.mean(losses)),
    }
