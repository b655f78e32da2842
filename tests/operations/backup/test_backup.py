"""A backup of a registry that is written to, and what is restored from it."""

import io
import json
import resource
import shutil
import sqlite3
import tarfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from cli.__main__ import main
from operations.backup import restore as restoring
from operations.errors import OperationError, StackError
from operations.local_stack.state_folder import StateFolder
from registry.bundles.bundle import MANIFEST, write_bundle
from registry.model_registry import ModelRegistry
from registry.records import Bundle, EngineHints

ANA = {"actor": "ana", "reason": "test"}


def bundle(folder: Path, content: str) -> Bundle:
    source = folder / f"source-{content}"
    source.mkdir(parents=True)
    (source / "model.onnx").write_text(content)
    (source / "tokenizer.json").write_text("{}")
    return write_bundle(
        folder / f"bundle-{content}",
        name="tiny",
        labels=("negative", "positive"),
        files={name: source / name for name in ("model.onnx", "tokenizer.json")},
        max_tokens=16,
        engine=EngineHints("onnx", "fp32", ("input_ids",), 0),
        metrics={"accuracy": 0.9},
    )


def opened(state: Path) -> ModelRegistry:
    return ModelRegistry(f"sqlite:///{state / 'mlflow.db'}", state / "artifacts")


class Writer(threading.Thread):
    """Registers versions, one after another, until it is told to end."""

    def __init__(self, registry: ModelRegistry, folder: Path) -> None:
        super().__init__(daemon=True)
        self._registry, self._folder = registry, folder
        self._ends = threading.Event()
        self.written = threading.Semaphore(0)

    def run(self) -> None:
        number = 0
        while not self._ends.is_set():
            number += 1
            made = bundle(self._folder, f"more-{number}")
            self._registry.store.register("tiny", made.directory, actor="ana")
            self.written.release()

    def end(self) -> None:
        self._ends.set()
        self.join(60)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """A state folder, a backup of it under writes, and the champion's digest."""
    folder = tmp_path_factory.mktemp("made")
    state = folder / "state"
    registry = opened(state)
    first = registry.ensure_bundled("tiny", bundle(folder, "first").directory, "champion")
    with closing(sqlite3.connect(state / "jobs.db")) as jobs, jobs:
        jobs.execute("PRAGMA journal_mode=WAL")
        jobs.execute("CREATE TABLE jobs (id TEXT)")
        jobs.execute("INSERT INTO jobs VALUES ('one')")
    writer = Writer(registry, folder)
    writer.start()
    try:
        assert writer.written.acquire(timeout=60)
        file = folder / "kept.tar"
        assert main(["backup", str(file), "--state-dir", str(state)]) == 0
        assert writer.written.acquire(timeout=60)
    finally:
        writer.end()
    return state, file, first.digest


@pytest.fixture
def kept(made: tuple[Path, Path, str], tmp_path: Path) -> Iterator[Path]:
    copy = tmp_path / "kept.tar"
    shutil.copy(made[1], copy)
    yield copy


def restore(file: Path, state: Path, *options: str) -> int:
    return main(["restore", str(file), "--state-dir", str(state), *options])


def test_a_wrecked_folder_is_whole_again(made, kept, tmp_path, capsys):
    _, _, digest = made
    state = tmp_path / "state"
    (state / "artifacts").mkdir(parents=True)
    (state / "artifacts" / "other").write_text("of before")
    (state / "mlflow.db").write_bytes(b"SQLite format 3\0wrecked")
    (state / "mlflow.db-wal").write_bytes(b"of the wrecked one")
    assert restore(kept, state) == 0
    assert "model tiny" in capsys.readouterr().out
    registry = opened(state)
    champion = registry.store.resolve("tiny", "champion")
    assert champion.digest == digest
    assert registry.store.fetch(champion, tmp_path / "cache").digest == digest
    events = registry.ledger.events("tiny")
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    # The chain goes on, in the new place.
    more = registry.store.register("tiny", bundle(tmp_path, "after").directory, actor="ana")
    assert registry.ledger.events("tiny")[-1].version == more.version
    with closing(sqlite3.connect(state / "jobs.db")) as jobs:
        assert jobs.execute("SELECT id FROM jobs").fetchall() == [("one",)]
    [before] = state.glob("artifacts.before-restore-*")
    assert (before / "other").read_text() == "of before"
    [wal] = state.glob("mlflow.db-wal.before-restore-*")
    assert wal.read_bytes() == b"of the wrecked one"
    assert not list(state.glob(".restoring-*"))


def changed(file: Path, name: str, content: bytes) -> None:
    """The same backup with other content, or another member, of that name."""
    with tarfile.open(file) as tar:
        members = {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]
    members = {name: content} | members | {name: content}
    with tarfile.open(file, "w") as tar:
        for member, data in members.items():
            entry = tarfile.TarInfo(member)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))


@pytest.mark.parametrize(
    ("name", "said"), [("jobs.db", "damaged: jobs.db"), ("../outside", "which is outside")]
)
def test_what_was_changed_is_refused_and_nothing_is_touched(kept, tmp_path, capsys, name, said):
    state = tmp_path / "state"
    changed(kept, name, b"other")
    assert restore(kept, state) == 1
    assert said in capsys.readouterr().err
    assert not (state / "mlflow.db").exists()
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("size", [0, 600, 20_000])
def test_a_part_of_a_backup_is_refused(kept, tmp_path, capsys, size):
    with kept.open("r+b") as file:
        file.truncate(size)
    assert restore(kept, tmp_path / "state") == 1
    assert "sentigraph restore: " in capsys.readouterr().err
    assert not (tmp_path / "state" / "mlflow.db").exists()


def test_another_file_than_the_one_that_was_noted_is_refused(kept, tmp_path, capsys):
    assert restore(kept, tmp_path / "state", "--sha256", "00" * 32) == 1
    assert "is not the file" in capsys.readouterr().err


def test_nothing_is_restored_under_a_running_server(kept, tmp_path, capsys):
    state = StateFolder(tmp_path / "state")
    with state.claim("http://127.0.0.1:1"):
        assert restore(kept, state.path) == 1
        assert "already running" in capsys.readouterr().err
        assert restore(kept, state.path, "--check") == 0
        assert "model tiny: " in capsys.readouterr().out
    assert not (state.path / "mlflow.db").exists()
    for time, was_there in enumerate((False, True), 1):
        assert restore(kept, state.path) == 0
        assert ("what was here" in capsys.readouterr().out) is was_there, f"restore {time}"


def test_a_restore_that_was_interrupted_is_ended_by_the_next(kept, tmp_path, monkeypatch):
    state = StateFolder(tmp_path / "state")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(restoring, "_exchange", interrupted)
        assert restore(kept, state.path) == 130
    with pytest.raises(StackError, match=r"sentigraph restore .* was interrupted"):  # noqa: SIM117
        with state.claim("http://127.0.0.1:1"):
            pass
    assert restore(kept, state.path) == 0
    with state.claim("http://127.0.0.1:1"):
        pass


def test_a_lost_bundle_is_said_and_refused(made, tmp_path, capsys):
    state = tmp_path / "state"
    assert restore(made[1], state) == 0
    # All: the files of a version that was being written are there, and its row is not.
    for manifest in (state / "artifacts").rglob(MANIFEST):
        manifest.write_text(json.dumps({"files": {}}))
    file = tmp_path / "second.tar"
    assert main(["backup", str(file), "--state-dir", str(state)]) == 1
    assert "was overwritten" in capsys.readouterr().err
    assert restore(file, tmp_path / "third", "--check") == 1
    assert restore(file, tmp_path / "third") == 1
    assert not (tmp_path / "third" / "mlflow.db").exists()
    assert restore(file, tmp_path / "third", "--damaged") == 0
    assert opened(tmp_path / "third").ledger.events("tiny")


def test_a_full_disk_leaves_nothing_behind(made, tmp_path, capsys):
    target = tmp_path / "there" / "full.tar"
    target.parent.mkdir()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        assert main(["backup", str(target), "--state-dir", str(made[0])]) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "sentigraph backup: " in capsys.readouterr().err
    assert list(target.parent.iterdir()) == []


def test_what_other_servers_keep_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SENTIGRAPH_HOME", str(tmp_path))
    config = tmp_path / "serve.yaml"
    args = {"registry": {"tracking_uri": "postgresql://me:secret@db.example/registry"}}
    config.write_text(yaml.safe_dump({"applications": [{"args": args}]}))
    assert main(["backup", str(tmp_path / "b.tar"), "--config", str(config)]) == 1
    said = capsys.readouterr().err
    assert "mlflow: postgresql at db.example" in said
    assert "secret" not in said


def test_nothing_is_overwritten(made, tmp_path):
    with pytest.raises(OperationError, match="exists"):
        from operations.backup.archive import writing  # noqa: PLC0415

        with writing(made[1]):
            pass
