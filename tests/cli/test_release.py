"""`sentigraph release …`: ordered, shown, held and followed, with the graph's part played here."""

import json
import re
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cli.__main__ import main
from registry.bundles.bundle import write_bundle
from registry.model_registry import ModelRegistry
from registry.policy import Policy, ReleasePolicy
from registry.records import EngineHints
from registry.releases.decision import ReleaseDecision

pytestmark = pytest.mark.slow


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    made = ModelRegistry(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "artifacts")
    for number in (1, 2):
        for file in ("model.onnx", "tokenizer.json"):
            (tmp_path / file).write_text(f'"{number}"')
        bundle = write_bundle(
            tmp_path / f"bundle-{number}",
            name="mood",
            labels=("NEG", "POS"),
            files={n: tmp_path / n for n in ("model.onnx", "tokenizer.json")},
            max_tokens=16,
            engine=EngineHints("onnx", "int8", ("input_ids",), 0),
        )
        made.store.register("mood", bundle.directory, actor="ana")
    made.point("mood", "champion", 1, actor="ana", reason="first")
    policy = Policy(release=ReleasePolicy(canary_weights=(0.5,)))
    made.catalog.update_model("mood", actor="ana", policy=policy)
    return made


def run(registry: ModelRegistry, tmp_path: Path, *words: str) -> int:
    place = ["--tracking-uri", registry.store.tracking_uri, "--artifact-root", str(tmp_path)]
    return main(["release", "mood", *words, "--actor", "ana", *place])


def test_ordered_shown_held_and_aborted(
    registry: ModelRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*words: str) -> Any:
        assert run(registry, tmp_path, *words, "--json") == 0
        return json.loads(capsys.readouterr().out)

    assert run(registry, tmp_path) == 1
    assert "no release of model 'mood'" in capsys.readouterr().err
    assert run(registry, tmp_path, "2", "--detach", "--reason", "better", "--json") == 0
    ordered = capsys.readouterr()
    assert json.loads(ordered.out)["action"] == "release_start"
    assert "pending: a server of this model probes version 2" in ordered.err
    missed = replace(registry.releases.progress("mood"), not_counted={"too old": 4})
    release, _, _ = registry.releases.status("mood")
    assert release is not None
    registry.releases.save_progress("mood", replace(missed, release=release.id))
    assert told()["verdict"]["action"] == "wait"
    assert run(registry, tmp_path) == 0
    shown = capsys.readouterr().out
    assert "shadow 1" in shown
    assert re.search(r"not counted +too old +4 answers", shown)
    assert told()["not_counted"] == {"too old": 4}
    assert run(registry, tmp_path, "--hold") == 1
    assert "needs a reason" in capsys.readouterr().err
    assert told("--hold", "--reason", "lunch")["action"] == "release_hold"
    assert told()["held"] == "lunch"
    assert told("--resume")["action"] == "release_resume"
    assert told("--abort", "--reason", "enough")["action"] == "release_abort"
    assert told()["outcome"] == "aborted"
    assert run(registry, tmp_path) == 0
    assert re.search(r"2 +aborted +enough", capsys.readouterr().out)


@pytest.mark.parametrize(("good", "status"), [(True, 0), (False, 1)])
def test_followed_to_its_end(
    registry: ModelRegistry,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    good: bool,
    status: int,
) -> None:
    def graph() -> None:
        while (release := registry.releases.status("mood")[0]) is None:
            pass
        if not good:
            registry.releases.roll_back("mood", release, "too slow", None)
        while good and release is not None:
            registry.releases.advance("mood", release, ReleaseDecision("go_on", "well", ()))
            release = registry.releases.status("mood")[0]

    playing = threading.Thread(target=graph)
    playing.start()
    assert run(registry, tmp_path, "2") == status
    playing.join()
    told = capsys.readouterr()
    assert ("automatic release" if good else "too slow") in told.out
    assert "\r" not in told.err, "a bar in a log file"
