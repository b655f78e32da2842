"""The GPU benchmark's arithmetic, what it needs, and that one failing section is no failing run."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from benchmarks.serving import gpu, gpu_section  # noqa: E402

ROOT = Path(__file__).parents[3]


def test_operations_are_those_of_the_paper() -> None:
    h, length, layers = 768, 128, 12
    config = SimpleNamespace(hidden_size=h, intermediate_size=4 * h, num_hidden_layers=layers)
    paper = layers * (24 * length * h**2 + 4 * length**2 * h)
    assert gpu_section.flops(config, length) == paper


def test_the_committed_lengths_are_real_ones() -> None:
    lengths = json.loads(gpu_section.LENGTHS.read_text())["lengths"]
    assert len(lengths) == 1_024
    assert 20 < sum(lengths) / len(lengths) < 30
    assert min(lengths) >= 3


@pytest.mark.slow
def test_it_needs_nothing_of_ours_but_the_engine() -> None:
    script = (
        "import sys, benchmarks.serving.gpu, deployments.model.engines.torch\n"
        "print(*(m for m in sys.modules if m.split('.')[0] in "
        "('configs', 'registry', 'deployments', 'pipelines', 'ray', 'mlflow')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) == {
        "registry",
        "registry.records",
        "deployments",
        "deployments.model",
        "deployments.model.engines",
        "deployments.model.engines.torch",
        "deployments.model.engines.layouts",
        "deployments.model.engines.cuda_graphs",
    }


def test_what_a_dying_section_measured_is_kept(tmp_path: Path) -> None:
    cases = tmp_path / "cases.jsonl"
    script = f"open({str(cases)!r}, 'w').write('{{\"a\": 1}}\\n{{\"b'); raise SystemExit('gone')"
    section = gpu.run_section([sys.executable, "-c", script], cases, 60)
    assert section == {"cases": [{"a": 1}], "error": "gone"}
    hung = gpu.run_section([sys.executable, "-c", "input()"], tmp_path / "none", 0.5)
    assert hung["cases"] == []
    assert "stopped after" in str(hung["error"]) or "EOF" in str(hung["error"])


@pytest.mark.slow
def test_the_trial_run_measures_and_compares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "gpu.json"
    monkeypatch.setattr(gpu, "QUICK_SECTIONS", (("packed", "bf16", (8,)),))
    argv = ["gpu", "--device", "cpu", "--quick", "--seconds", "0", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(gpu, "configs", _one_config(gpu.configs))
    assert gpu.main() == 0
    result: Any = json.loads(out.read_text())
    (section,) = result["sections"]
    assert section["error"] is None
    # Two workloads, each with and without the tokenizer.
    assert len([case for case in section["cases"] if "texts_per_s" in case]) == 4
    assert [case["agrees"] for case in section["cases"] if "agrees" in case] == [True, True]
    assert "distilbert-tiny" in capsys.readouterr().out


def _one_config(configs: Any) -> Any:
    return lambda quick: dict(list(configs(quick).items())[:1])
