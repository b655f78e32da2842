"""Imports tiny random models of every family in every form, and compares each with the library.

`make model-matrix` writes the table into `docs/guides/huggingface.md`. A cell is `equal` where the
served scores are those of `transformers.pipeline` on 17 awkward texts within 1e-4; `close` where
INT8 has passed its gates; or the reason of the refusal.
"""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from cli.__main__ import main as cli
from deployments.model.engines import open_engine
from deployments.model.runner import LoadedModel
from deployments.tokenizer.replica import LoadedTokenizer
from pipelines.training.tiny_encoder import write_tiny_base
from registry.bundles.bundle import open_bundle
from registry.records import Bundle
from tests.pipelines.export.huggingface_models import Weights, changed, save_model, sizes
from tests.pipelines.export.public_models import LABELS, write_public_model

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "huggingface.md"
START, END = "<!-- matrix -->", "<!-- /matrix -->"
WORDS = "the phone in rome was lovely and at home my sister driver awful train sea"
TEXTS = (
    "the phone was lovely",
    "awful",
    "a",
    "LOVELY Phone",
    "😀 lovely 👍🏽",
    "cafe\u0301 lovely",
    "café lovely",
    "мир the phone 世界",
    "שלום the phone",
    "the \u0000 phone",
    "[SEP] [CLS] [MASK] [PAD]",
    "</s> <s> <pad>",
    "x" * 400,
    "... !!! ???",
    " ".join([WORDS] * 40),
    f"{'awful ' * 300}lovely",
    "the\tphone\nwas\r\nlovely",
)
FORMS = ("FP32", "INT8", "Torch")
BOUND = 1e-4
_BASE = "bert"


def configurations(words: int) -> dict[str, transformers.PretrainedConfig]:
    """Every family that is tried, by name."""
    common = sizes(words)
    positions = {"max_position_embeddings": 66}
    decoder: dict[str, Any] = {
        **{key: common[key] for key in ("vocab_size", "id2label", "label2id", "initializer_range")},
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 2,
        "n_positions": 64,
    }
    t = transformers
    return {
        "bert": t.BertConfig(**common, max_position_embeddings=64),
        "roberta, pad id 1": t.RobertaConfig(**common, **positions, pad_token_id=1),
        "roberta, pad id 3": t.RobertaConfig(**common, **positions, pad_token_id=3),
        "xlm-roberta": t.XLMRobertaConfig(**common, **positions, pad_token_id=1),
        "distilbert": t.DistilBertConfig(
            vocab_size=words,
            dim=32,
            n_layers=2,
            n_heads=2,
            hidden_dim=64,
            initializer_range=0.3,
            max_position_embeddings=64,
            id2label=common["id2label"],
            label2id=common["label2id"],
        ),
        "albert": t.AlbertConfig(**common, embedding_size=16, max_position_embeddings=64),
        "electra": t.ElectraConfig(**common, embedding_size=32, max_position_embeddings=64),
        "mpnet": t.MPNetConfig(**common, **positions),
        "deberta-v2": t.DebertaV2Config(
            **common, max_position_embeddings=64, relative_attention=True, pos_att_type="p2c|c2p"
        ),
        "modernbert, window 16": t.ModernBertConfig(
            **common, max_position_embeddings=64, local_attention=16, pad_token_id=0
        ),
        "longformer": t.LongformerConfig(**common, **positions, attention_window=8),
        "gpt2, pad token": t.GPT2Config(**decoder, pad_token_id=0),
        "gpt2, no pad token": t.GPT2Config(**decoder),
        "xlnet, token types 0": t.XLNetConfig(
            **{key: common[key] for key in ("vocab_size", "id2label", "label2id")},
            d_model=32,
            n_layer=2,
            n_head=2,
            d_inner=64,
        ),
    }


def _one_output(state: Weights) -> Weights:
    return {k: v[:1].clone() if k.startswith("classifier.") else v for k, v in state.items()}


def _five_rows(state: Weights) -> Weights:
    return {**state, "classifier.weight": torch.ones(5, 32), "classifier.bias": torch.ones(5)}


def _as(dtype: torch.dtype) -> Callable[[Weights], Weights]:
    return lambda state: {key: value.to(dtype) for key, value in state.items()}


def _headless(state: Weights) -> Weights:
    return {key: value for key, value in state.items() if not key.startswith("classifier.")}


def _prefixed(state: Weights) -> Weights:
    return {f"_orig_mod.{key}": value for key, value in state.items()}


def _not_finite(state: Weights) -> Weights:
    state["bert.embeddings.word_embeddings.weight"][7] = torch.nan
    return state


VARIANTS: dict[str, dict[str, Any]] = {
    "multi-label": {"config": {"problem_type": "multi_label_classification"}},
    "regression": {"config": {"problem_type": "regression"}},
    "one output": {
        "config": {"id2label": {"0": "score"}, "label2id": {"score": 0}},
        "weights": _one_output,
    },
    "fp16 weights": {"weights": _as(torch.float16)},
    "bf16 weights": {"weights": _as(torch.bfloat16)},
    "broken: no head": {"weights": _headless},
    "broken: head of 5 rows": {"weights": _five_rows},
    "broken: foreign prefix": {"weights": _prefixed},
    "broken: weights not finite": {"weights": _not_finite},
}


def make(name: str, base: Path, work: Path) -> Path:
    """Writes the model of a row; ``base`` is a folder with the words."""
    words = len(transformers.PreTrainedTokenizerFast.from_pretrained(base))
    all_of_them, folder = configurations(words), work / re.sub(r"\W+", "-", name)
    if folder.exists():
        shutil.rmtree(folder)
    if name in LABELS:
        return write_public_model(name, folder)
    if name in all_of_them:
        options: dict[str, str | None] = {"pad_token": None} if name == "gpt2, no pad token" else {}
        if name == "xlnet, token types 0":
            options = {"padding_side": "left"}
        return save_model(folder, all_of_them[name], base, **options)
    original = save_model(work / "original", all_of_them[_BASE], base)
    if name in VARIANTS:
        changed(original, folder, **VARIANTS[name])
    else:
        shutil.copytree(original, folder)
    if name == "sharded weights":
        model = transformers.AutoModelForSequenceClassification.from_pretrained(original)
        (folder / "model.safetensors").unlink()
        model.save_pretrained(folder, max_shard_size="20KB")
    elif name == "broken: no tokenizer":
        for path in folder.glob("tokenizer*"):
            path.unlink()
    elif name == "broken: one token too many":
        tokens = transformers.PreTrainedTokenizerFast.from_pretrained(original)
        tokens.add_tokens(["zzplusplus"])
        tokens.save_pretrained(folder)
    shutil.rmtree(original)
    return folder


def rows(base: Path) -> list[str]:
    """The names of all models."""
    words = len(transformers.PreTrainedTokenizerFast.from_pretrained(base))
    others = ["sharded weights", "broken: no tokenizer", "broken: one token too many"]
    return [*configurations(words), *VARIANTS, *others, *LABELS]


def row(name: str, base: Path, work: Path, forms: Sequence[str] = FORMS) -> dict[str, str]:
    """What becomes of a model, by form."""
    folder, found = make(name, base, work), {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if "INT8" in forms:
            found["INT8"] = _imported(folder, work, "int8", [])
            if found["INT8"] == "close":
                found["FP32"] = _compared(folder, work / "out" / "fp32")
        for form, options in (("FP32", ["--precision", "fp32"]), ("Torch", ["--engine", "torch"])):
            if form in forms and form not in found:
                place = "fp32" if form == "FP32" else "torch-fp32"
                found[form] = _imported(folder, work, place, options)
    return {form: found[form] for form in forms}


def _imported(folder: Path, work: Path, place: str, options: list[str]) -> str:
    out, said = work / "out", io.StringIO()
    if out.exists():
        shutil.rmtree(out)
    command = ["import", str(folder), "--name", "x", "--out", str(out), *options]
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        status = cli(command)
    if status != 0:
        return _reason(said.getvalue(), folder)
    return "close" if place == "int8" else _compared(folder, out / place)


def _compared(folder: Path, place: Path) -> str:
    bundle = open_bundle(place)
    difference = float(np.abs(_served(bundle) - _of_the_library(folder, bundle)).max())
    assert difference <= BOUND, f"{folder.name} {place.name}: differs by {difference:.1e}"
    return "equal" if bundle.engine.pads else "equal, one text at a time"


def _reason(said: str, folder: Path) -> str:
    sentence = said.strip().splitlines()[-1].replace(f"{folder}: ", "")
    sentence = sentence.removeprefix("sentigraph import: ")
    # Figures differ from machine to machine; what can be done is in the guide.
    figure = r"(?<![A-Za-z\d])\d+(\.\d+)?(e[+-]\d+)?( ?%)?"
    shown = re.sub(figure, "…", sentence.partition(";")[0])
    return f"refused: {shown[:120]}".replace("|", "/").strip()


def _served(bundle: Bundle) -> np.ndarray:
    model = LoadedModel(bundle, open_engine(bundle, provider="cpu", threads=1))
    tokens = LoadedTokenizer(bundle)
    return np.concatenate([model.score([tokens.encode([text]).ids]) for text in TEXTS])


def _of_the_library(folder: Path, bundle: Bundle) -> np.ndarray:
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=torch.float32
    )
    classify = transformers.pipeline(
        "text-classification",
        model=model,
        tokenizer=transformers.AutoTokenizer.from_pretrained(folder),
        device="cpu",
    )
    answers = [
        classify(text, top_k=None, truncation=True, max_length=bundle.max_tokens) for text in TEXTS
    ]
    found = [{each["label"]: each["score"] for each in answer} for answer in answers]
    return np.array([[row[label] for label in bundle.labels] for row in found])


def in_the_guide() -> dict[str, dict[str, str]]:
    """The table as it stands in the guide: by model, by form."""
    text = GUIDE.read_text(encoding="utf-8")
    inside = text[text.index(START) + len(START) : text.index(END)].strip().splitlines()
    header, _, *lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in inside]
    return {line[0]: dict(zip(header[1:], line[1:], strict=True)) for line in lines}


def tiny_words(folder: Path) -> Path:
    """A folder with the tokenizer that all models share."""
    return write_tiny_base(folder, [WORDS, "question praise bug lovely awful the phone was"])


def write(lines: Sequence[Sequence[str]]) -> None:
    """Puts the table into the guide."""
    shown = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    head, rest = shown.split("\n", 1)
    text = GUIDE.read_text(encoding="utf-8")
    before, after = text[: text.index(START)], text[text.index(END) :]
    made = f"{before}{START}\n{head}\n{'|---' * len(lines[0])}|\n{rest}\n{after}"
    GUIDE.write_text(made, encoding="utf-8")


def main() -> None:
    """Makes the whole table and writes it into the guide."""
    transformers.utils.logging.disable_progress_bar()
    lines = [["model", *FORMS]]
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        base = tiny_words(work / "base")
        for name in rows(base):
            lines.append([name, *row(name, base, work).values()])
            print(*lines[-1], sep=" | ", flush=True)
    write(lines)


if __name__ == "__main__":
    main()
