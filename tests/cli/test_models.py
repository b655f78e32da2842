"""`sentigraph models …` on a real registry with the bundled model."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cli.__main__ import main
from registry.catalog.metadata import Metadata
from registry.catalog.uploads import Uploads
from registry.model_registry import ModelRegistry

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "models" / "sentiment"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("cli")
    return [
        *("--tracking-uri", f"sqlite:///{folder / 'mlflow.db'}"),
        *("--artifact-root", str(folder / "artifacts"), "--actor", "ana"),
    ]


def run(place: list[str], *words: str) -> int:
    return main(["models", *words, *place])


def test_a_model_from_import_to_rollback(
    place: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*words: str) -> Any:
        assert run(place, *words, "--json") == 0
        return json.loads(capsys.readouterr().out)

    assert told("import", str(BUNDLE), "--name", "mood")["version"] == 1
    other = tmp_path / "other"
    other.mkdir()
    manifest = json.loads((BUNDLE / "bundle.json").read_text())
    for name in manifest["files"]:
        (other / name).symlink_to(BUNDLE / name)
    (other / "bundle.json").write_text(json.dumps({**manifest, "temperature": 1.5}))
    for name in manifest["files"]:
        (other / name).unlink()
        (other / name).hardlink_to(BUNDLE / name)
    assert told("import", str(other), "--name", "mood")["version"] == 2

    capsys.readouterr()
    assert run(place, "promote", "mood", "1") == 1
    assert "from draft it can go to staging, archived" in capsys.readouterr().err
    for version in ("1", "2"):
        told("promote", "mood", version, "--to", "staging")
    assert told("canary", "mood", "2", "--weight", "0.1")["after"]["weights"] == {"challenger": 0.1}
    assert told("canary", "mood")["after"]["aliases"] == {}
    assert told("shadow", "mood", "2")["after"]["aliases"] == {"shadow": 2}

    data = tmp_path / "texts.csv"
    data.write_text("text,label\nI love it,POSITIVE\nI hate it,NEGATIVE\n")
    for version in ("1", "2"):
        figures = told("evaluate", "mood", version, "--data", str(data))["metrics"]
        assert figures["accuracy"] == 1.0
        assert figures["texts"] == 2
    compared = told("compare", "mood", "1", "2")["metrics"]
    assert {m["metric"]: m["difference"] for m in compared}["accuracy"] == 0

    told("promote", "mood", "1")
    told("promote", "mood", "2")
    assert told("rollback", "mood", "--reason", "errors")["after"]["aliases"] == {"champion": 1}
    assert run(place, "show", "mood") == 0
    shown = capsys.readouterr().out
    assert "production" in shown
    assert "accuracy on texts.csv" in shown
    assert "1.0000 (0.3424-1.0000)" in shown
    assert [one["version"] for one in told("trend", "mood")] == [1, 2]
    assert run(place, "list") == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:2] == ["mood", "1"]
    assert told("audit", "mood", "--limit", "1")[0]["action"] == "rollback"
    assert told("audit", "mood", "--limit", "1")[0]["at"].endswith("Z")
    assert told("audit", "mood", "--at", "2099-01-01")["version"] == 1
    assert run(place, "audit", "mood", "--at", "yesterday") == 1
    assert run(place, "audit", "nobody") == 1


def test_what_cannot_be_compared_is_told_with_the_command_that_measures_it(
    place: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(2):
        manifest = json.loads((BUNDLE / "bundle.json").read_text())
        folder = tmp_path / f"bundle{number}"
        folder.mkdir()
        for name in manifest["files"]:
            (folder / name).hardlink_to(BUNDLE / name)
        # Another file than the bundled one, without the figures that its training gave.
        other = {**manifest, "temperature": 1.5 + number, "metrics": {}}
        (folder / "bundle.json").write_text(json.dumps(other))
        assert run(place, "import", str(folder), "--name", "faces") == 0
    (tmp_path / "texts.csv").write_text("text,label\nI love it,POSITIVE\nI hate it,NEGATIVE\n")
    run(place, "evaluate", "faces", "1", "--data", str(tmp_path / "texts.csv"))
    capsys.readouterr()
    assert run(place, "compare", "faces", "1", "2") == 0
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith("nothing is compared: versions 1 and 2 of faces were not measured")
    assert re.fullmatch(r"  version 1 \(.*\): texts\.csv \(digest \w{12}, accuracy 1\)", told[1])
    assert re.fullmatch(r"  version 2 \(.*\): nothing measured", told[2])
    assert told[4:] == ["  sentigraph models evaluate faces 2 --data texts.csv"]

    # The same name is not the same texts.
    (tmp_path / "texts.csv").write_text("text,label\nI love it,POSITIVE\nI loathe it,NEGATIVE\n")
    run(place, "evaluate", "faces", "2", "--data", str(tmp_path / "texts.csv"), "--dataset", "a b")
    capsys.readouterr()
    assert run(place, "compare", "faces", "1", "2", "--dataset", "a b") == 0
    told = capsys.readouterr().err.splitlines()
    assert told[0].endswith("on the same dataset a b")
    assert told[4:] == ["  sentigraph models evaluate faces 1 --data FILE --dataset 'a b'"]

    run(place, "evaluate", "faces", "1", "--data", str(tmp_path / "texts.csv"), "--dataset", "a b")
    capsys.readouterr()
    assert run(place, "compare", "faces", "1", "2") == 0
    shown = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert shown[1:3] == ["accuracy", "macro_accuracy"]


def test_verify_names_what_was_overwritten(
    place: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run(place, "import", str(BUNDLE), "--name", "changed")
    capsys.readouterr()
    assert run(place, "verify", "changed", "--json") == 0
    assert {line["what"]: line["result"] for line in json.loads(capsys.readouterr().out)} == {
        "audit chain": "ok",
        "version 1": "ok",
    }
    artifacts = Path(place[3])
    for file in artifacts.rglob("tokenizer.json"):
        file.write_text("{}")
    assert run(place, "verify", "changed") == 1
    assert "tokenizer.json" in capsys.readouterr().out


def test_verify_checks_single_files_too(
    place: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = ModelRegistry(place[1], place[3])
    registry.catalog.create_model("kept", "", actor="ana")
    draft = registry.catalog.create_version("kept", "1.0.0", Metadata(author="ana"), actor="ana")
    (tmp_path / "m.h5").write_bytes(b"\x89HDF\r\n\x1a\n and more")
    uploads = Uploads(registry.store, registry.lifecycle, tmp_path / "cache", 1_000)
    uploads.put(draft, "h5", tmp_path / "m.h5", actor="ana")
    assert run(place, "verify", "kept") == 0
    for file in Path(place[3]).rglob("model.h5"):
        file.write_bytes(b"\x89HDF\r\n\x1a\n and other")
    capsys.readouterr()
    assert run(place, "verify", "kept") == 1
    assert "version 1" in capsys.readouterr().out


def test_gc_removes_files_that_no_version_uses(
    place: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("gone", "stays"):
        run(place, "import", str(BUNDLE), "--name", name)
    registry = ModelRegistry(place[1], place[3])
    version = registry.store.resolve("gone", 1)
    location = registry.store.mlflow.client().get_model_version_download_uri("gone", "1")
    folder = Path(location.removeprefix("file://"))
    registry.deletions.delete_version(version, actor="ana")
    capsys.readouterr()

    def found(*words: str) -> Any:
        assert run(place, "gc", "--json", *words) == 0
        return json.loads(capsys.readouterr().out)

    # Somebody may be uploading right now.
    assert found("--delete") == []
    monkeypatch.setattr("cli.models.check._MIN_AGE_S", -1)
    (unused,) = found()
    assert (folder / "model.onnx").exists()
    assert found("--delete") == [unused]
    assert not list(folder.rglob("*.onnx"))
    assert found() == []
    assert run(place, "verify", "stays") == 0


def test_an_empty_file_measures_nothing(
    place: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.csv").write_text("text,label\n")
    assert run(place, "evaluate", "mood", "1", "--data", str(tmp_path / "empty.csv")) == 1
    assert "no texts in it" in capsys.readouterr().err


def test_an_approval_by_the_maker_says_that_it_may_not_count(
    place: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run(place, "import", str(BUNDLE), "--name", "own")
    capsys.readouterr()
    assert run(place, "approve", "own", "1") == 0
    assert "does not count for a promotion by ana" in capsys.readouterr().err
