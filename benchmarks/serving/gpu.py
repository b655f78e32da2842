"""The PyTorch engine on a bare GPU machine, beside the plain Hugging Face pipeline, in one run.

    python3 -m benchmarks.serving.gpu --out gpu.json

Needs torch, transformers, tokenizers and numpy; no Ray, no network, no model hub: the weights
are random, of fixed seed, at the sizes of DistilBERT and BERT-base (speed does not depend on
them). The order is by importance; what the time budget does not reach is listed as left out.
``benchmarks/results/gpu.json`` is the committed result, if a GPU could be had.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModelForSequenceClassification, BertConfig, DistilBertConfig
from transformers.utils import logging

from benchmarks.serving.gpu_section import PROBE_TEXTS, padded, works

ROOT = Path(__file__).resolve().parents[2]
SEED = 20140601
VOCABULARY = 30_522
SECTION_LIMIT_S = 150
# Way, precision, batches; both models of one line before the next line.
SECTIONS = (
    ("packed", "bf16", (1, 8, 32, 128, 512)),
    ("pipeline-default", "fp32", (1, 32, 128)),
    ("pipeline", "bf16", (1, 32, 128)),
    ("padded", "bf16", (1, 8, 32, 128, 512)),
    ("packed-eager", "bf16", (1, 32, 512)),
    ("packed", "fp16", (1, 32, 512)),
    ("padded", "fp32", (1, 32, 512)),
    ("padded-eager", "bf16", (1, 32, 512)),
)
QUICK_SECTIONS = (
    ("packed", "fp32", (1, 8)),
    ("pipeline-default", "fp32", (1, 8)),
    ("padded", "fp32", (8,)),
    ("packed-eager", "bf16", (8,)),
)


def configs(quick: bool) -> dict[str, BertConfig | DistilBertConfig]:
    """Model configurations by name; with ``quick``, two layers of width 64."""
    if quick:
        bert = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
        distil = {"dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 128}
        return {
            "distilbert-tiny": DistilBertConfig(**distil, initializer_range=0.2),
            "bert-tiny": BertConfig(**bert, intermediate_size=128, initializer_range=0.2),
        }
    return {"distilbert": DistilBertConfig(), "bert-base": BertConfig()}


def write_model(folder: Path, config: BertConfig | DistilBertConfig) -> None:
    """Weights, tokenizer and the FP32 reference of plain transformers, as ``reference.npy``."""
    torch.manual_seed(SEED)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    model.save_pretrained(folder)
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = specials + [f"w{i}" for i in range(VOCABULARY - len(specials))]
    tokenizer = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    ids, mask = padded(works(tokenizer, PROBE_TEXTS)[1].rows)
    with torch.inference_mode():
        output = model(torch.from_numpy(ids), attention_mask=torch.from_numpy(mask))
    np.save(folder / "reference.npy", output.logits.numpy())


def run_section(command: list[str], cases: Path, limit_s: float) -> dict[str, Any]:
    """Runs one section; its cases, and what went wrong if something did."""
    error = None
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=limit_s, check=False
        )
        if done.returncode:
            error = (done.stderr or f"exit status {done.returncode}").strip()[-2_000:]
    except subprocess.TimeoutExpired:
        error = f"stopped after {limit_s:.0f} s"
    lines = cases.read_text(encoding="utf-8").splitlines() if cases.exists() else []
    measured = [json.loads(line) for line in lines if line.endswith("}")]
    return {"cases": measured, "error": error}


def table(result: dict[str, Any]) -> str:
    """The timed cases as text, one line each."""
    rows = [
        f"{'model':16}{'way':18}{'':6}{'work':12}{'batch':>6}  {'kind':22}"
        f"{'texts/s':>10}{'TFLOP/s':>9}{'p50 ms':>9}{'p99 ms':>9}"
    ]
    for section in result["sections"]:
        head = f"{section['model']:16}{section['way']:18}{section['precision']:6}"
        for case in section["cases"]:
            if "texts_per_s" in case:
                rows.append(
                    f"{head}{case['work']:12}{case['batch']:6}  {case['kind']:22}"
                    f"{case['texts_per_s']:10.0f}{case['tflops']:9.1f}"
                    f"{case['p50_ms']:9.2f}{case['p99_ms']:9.2f}"
                )
            else:
                rows.append(head + ", ".join(f"{k} {v}" for k, v in case.items()))
        if section["error"]:
            rows.append(head + "FAILED: " + str(section["error"]).splitlines()[-1])
    return "\n".join(rows)


def main() -> int:
    """Runs all sections within the budget; 1 if one failed or answered otherwise than FP32."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "gpu.json")
    parser.add_argument("--seconds", type=float, default=0.6, help="for each case")
    parser.add_argument("--budget-s", type=float, default=480, help="for the whole run")
    parser.add_argument("--quick", action="store_true", help="tiny models, a trial of the program")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no CUDA device; try the program with --device cpu --quick")
    logging.disable_progress_bar()
    started = time.perf_counter()

    def say(text: str) -> None:
        print(f"[{time.perf_counter() - started:6.1f} s] {text}", file=sys.stderr, flush=True)

    properties = torch.cuda.get_device_properties(0) if args.device == "cuda" else None
    result: dict[str, Any] = {
        "command": "python3 -m benchmarks.serving.gpu " + " ".join(sys.argv[1:]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": properties.name if properties else platform.processor() or platform.machine(),
        "device_bytes": properties.total_memory if properties else 0,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "transformers": transformers.__version__,
        },
        "sections": [],
        "left_out": [],
    }

    def write() -> None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        beside = args.out.with_suffix(".part")
        beside.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        beside.replace(args.out)

    with tempfile.TemporaryDirectory(prefix="sentigraph-gpu-") as scratch:
        folders = {}
        for name, config in configs(args.quick).items():
            say(f"writing {name}")
            folders[name] = Path(scratch) / name
            write_model(folders[name], config)
        for way, precision, batches in QUICK_SECTIONS if args.quick else SECTIONS:
            for name, folder in folders.items():
                title = f"{name} {way} {precision}"
                left_s = args.budget_s - (time.perf_counter() - started)
                if left_s < 30:
                    result["left_out"].append(title)
                    say(f"no time left for {title}")
                    continue
                say(title)
                cases = Path(scratch) / f"{title.replace(' ', '-')}.jsonl"
                command = [
                    sys.executable,
                    "-m",
                    "benchmarks.serving.gpu_section",
                    "--model",
                    str(folder),
                ]
                command += ["--way", way, "--precision", precision, "--device", args.device]
                command += ["--seconds", str(args.seconds), "--out", str(cases), "--batches"]
                command += [str(batch) for batch in batches]
                section = run_section(command, cases, min(left_s, SECTION_LIMIT_S))
                section = {"model": name, "way": way, "precision": precision, **section}
                result["sections"].append(section)
                if section["error"]:
                    say(f"FAILED: {section['error']}")
                write()
    result["seconds"] = round(time.perf_counter() - started, 1)
    write()
    print(table(result))
    say(f"written to {args.out}")
    wrong = [
        section
        for section in result["sections"]
        if section["error"] or not all(case.get("agrees", True) for case in section["cases"])
    ]
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
