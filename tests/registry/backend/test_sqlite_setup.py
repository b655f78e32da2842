"""First starts: several processes at once, broken files, locks."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from registry.backend.sqlite_setup import locked, prepare_sqlite, sqlite_file
from registry.backend.store import RegistryStore
from registry.errors import BackendUnavailable

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
START = """
import sys
from pathlib import Path
from registry.model_registry import ModelRegistry

uri, folder, bundle = sys.argv[1:]
registry = ModelRegistry(uri, Path(folder))
made = registry.ensure_bundled("raced", Path(bundle), "champion")
cached = registry.store.fetch(made, Path(folder) / "cache")
print(made.version, made.aliases, cached.digest == made.digest)
"""


def start_at_once(count: int, uri: str, folder: Path, bundle: Path) -> list[str]:
    """Runs ``START`` in ``count`` processes; their outputs."""
    running = [
        subprocess.Popen(
            [sys.executable, "-W", "error::RuntimeWarning", "-c", START, uri, folder, bundle],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    results = [process.communicate(timeout=240) for process in running]
    assert [p.returncode for p in running] == [0] * count, results
    return [output.strip() for output, _ in results]


def test_processes_that_start_at_once_share_one_registry(make_bundle, tmp_path):
    uri = f"sqlite:///{tmp_path / 'fresh' / 'mlflow.db'}"
    outputs = start_at_once(3, uri, tmp_path / "files", make_bundle().directory)

    assert outputs == ["1 ('champion',) True"] * 3
    # Its stage is written after the alias: whoever lost the race may have seen it on the way.
    [version] = RegistryStore(uri, tmp_path / "files").list_versions("raced")
    assert version.stage == "production"
    assert sorted(p.name for p in (tmp_path / "fresh").iterdir() if "-" not in p.name) == [
        "mlflow.db",
        "mlflow.db.lock",
    ]
    assert len(list((tmp_path / "files" / "cache" / "sha256").iterdir())) == 1


def test_processes_that_start_at_once_over_http_end_with_one_version(
    make_bundle, server_url, tmp_path
):
    outputs = start_at_once(3, server_url, tmp_path / "files", make_bundle().directory)

    versions = RegistryStore(server_url, tmp_path).list_versions("raced")
    assert [v.aliases for v in versions] == [("champion",)]
    assert {line.split()[0] for line in outputs} == {str(versions[0].version)}


def test_a_start_that_was_killed_half_way_leaves_no_half_database(tmp_path):
    file = tmp_path / "mlflow.db"

    def die(uri: str) -> None:
        Path(uri.removeprefix("sqlite:///")).write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_sqlite(file, die)
    assert not file.exists()

    RegistryStore(f"sqlite:///{file}", tmp_path / "files").initialise()
    assert file.exists()


def make_foreign(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE recipes (id INTEGER)")
    connection.close()


def make_damaged(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE registered_models (id INTEGER, text TEXT)")
        connection.execute("CREATE TABLE alembic_version (id INTEGER)")
        connection.executemany(
            "INSERT INTO registered_models VALUES (?, ?)", [(i, "x" * 500) for i in range(200)]
        )
    connection.close()
    content = bytearray(file.read_bytes())
    content[8192:16384] = b"\xff" * 8192
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda file: file.write_text("this is no database\n" * 100), "file is not a database"),
        (make_foreign, "it belongs to another program"),
        (make_damaged, "damaged|malformed"),
        (lambda file: file.mkdir(), "unable to open database file"),
    ],
    ids=["text", "foreign", "damaged", "folder"],
)
def test_a_broken_file_is_named_with_what_to_do(tmp_path, spoil, reason):
    file = tmp_path / "mlflow.db"
    spoil(file)
    with pytest.raises(BackendUnavailable, match=reason) as caught:
        RegistryStore(f"sqlite:///{file}", tmp_path / "files").initialise()
    assert caught.value.message.startswith(f"{file} ")
    assert caught.value.message.endswith(
        f"restore a copy or move it away (mv {file} {file}.broken), then start again"
    )
    assert "\n" not in caught.value.message


def test_an_empty_file_becomes_a_registry(tmp_path):
    file = tmp_path / "mlflow.db"
    file.touch()
    RegistryStore(f"sqlite:///{file}", tmp_path / "files").initialise()
    assert file.stat().st_size > 100_000


def test_a_lock_is_waited_for_and_not_for_ever(tmp_path):
    lock_file = tmp_path / "lock"
    with (
        locked(lock_file),
        pytest.raises(BackendUnavailable, match="another process has held"),
        locked(lock_file, wait_s=0.1),
    ):
        pass
    with locked(lock_file, wait_s=0):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(BackendUnavailable, match="cannot hold the registry: File exists"),
        locked(tmp_path / "file" / "lock"),
    ):
        pass


def test_only_sqlite_addresses_name_a_file():
    assert sqlite_file("sqlite:////srv/mlflow.db") == Path("/srv/mlflow.db")
    assert sqlite_file("sqlite:///state/mlflow.db") == Path.cwd() / "state" / "mlflow.db"
    assert sqlite_file("http://127.0.0.1:5000") is None
    assert sqlite_file("postgresql://host/db") is None
