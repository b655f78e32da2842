"""The commands of ``docs/guides/models.md`` and of README's "A model's life", in their order."""

import json
import re
import shlex
from pathlib import Path

import pytest

from cli.__main__ import main
from registry.bundles.bundle import open_bundle, write_bundle
from registry.model_registry import ModelRegistry
from registry.policy import Policy

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "models" / "sentiment"
BLOCK = re.compile(r"^<!-- run by: tests/cli/test_guides.py -->\n```sh\n(.*?)^```", re.M | re.S)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A registry with the bundled champion, another bundle, and a file of labelled texts."""
    monkeypatch.chdir(tmp_path)
    bundle = open_bundle(BUNDLE)
    for number, name in enumerate(("int8", "third")):
        write_bundle(
            tmp_path / ".sentigraph" / "import" / name,
            name="sentiment",
            labels=bundle.labels,
            files={file: BUNDLE / file for file in bundle.files},
            max_tokens=bundle.max_tokens,
            temperature=bundle.temperature + number + 1,
            engine=bundle.engine,
        )
    rows = ["text,label,domain", "I love it,POSITIVE,film", "I hate it,NEGATIVE,shop"]
    (tmp_path / "reviews.csv").write_text("\n".join(rows) + "\n")
    store = ["--tracking-uri", f"sqlite:///{tmp_path}/mlflow.db"]
    store += ["--artifact-root", str(tmp_path / "artifacts")]
    registry = ModelRegistry(store[1], store[3])
    first = registry.store.register("sentiment", BUNDLE, actor="ana")
    registry.point("sentiment", "champion", first.version, actor="ana", reason="first")
    return store


def run(guide: Path, store: list[str], done: set[str]) -> int:
    """Runs the blocks' commands; returns how many there were."""
    count = 0
    for block in BLOCK.findall(guide.read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[0] == "curl":
                body = json.loads(words[words.index("-d") + 1])
                Policy().merged(Policy.model_validate(body["policy"]))
                continue
            if "sentiment 3" in line and "third" not in done:
                done.add("third")
                folder = ".sentigraph/import/third"
                assert main(["models", "import", folder, "--name", "sentiment", *store]) == 0
            assert main([*words[1:], *store]) == 0, line
            count += 1
    return count


def test_the_commands_of_the_models_guide_do_what_they_say(
    place: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(ROOT / "docs" / "guides" / "models.md", place, set()) > 20
    shown = capsys.readouterr().out
    assert "accuracy on reviews" in shown
    assert "domain=film" in shown
    assert (tmp_path / "wrong.csv").is_file()
    registry = ModelRegistry(place[1], place[3])
    assert registry.lifecycle.state("sentiment").champion == 1
    assert registry.catalog.model("sentiment").policy.approvals == 1


def test_the_commands_of_the_readme_do_what_they_say(place: list[str]) -> None:
    assert run(ROOT / "README.md", place, set()) == 7
