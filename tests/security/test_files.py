"""Hostile archives are refused as what they are, and quickly; what is written is not for others."""

import os
import stat
import struct
import time
import zipfile
from pathlib import Path

import pytest

from configs.schema.app import AppConfig
from operations.local_stack.mlflow_server import login_options, mlflow_server, password_file
from operations.local_stack.state_folder import StateFolder
from registry.bundles.archive import unpack
from registry.errors import InvalidBundle

MIB = 1 << 20


def refused(archive: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(InvalidBundle):
        unpack(archive, target, max_bytes=MIB)
    outside = {path for path in tmp_path.rglob("*") if target not in path.parents}
    assert outside == {archive, target}


@pytest.mark.parametrize("name", ["x" * 300 + ".txt", "a/" + "é" * 130 + ".txt"])
def test_a_name_that_no_file_system_takes(name: str, tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr(name, "x")
    refused(archive, tmp_path)


@pytest.mark.parametrize("mode", [stat.S_IFIFO, stat.S_IFCHR, stat.S_IFLNK, stat.S_IFSOCK])
def test_what_is_no_file(mode: int, tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    entry = zipfile.ZipInfo("notes.txt")
    entry.external_attr = (mode | 0o644) << 16
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr(entry, "x")
    refused(archive, tmp_path)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_corrupt_data(method: int, tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", method) as made:
        made.writestr("notes.txt", os.urandom(4_000))
    content = bytearray(archive.read_bytes())
    for at in range(60, 400):
        content[at] ^= 0x5A
    archive.write_bytes(content)
    refused(archive, tmp_path)


def test_a_long_table_of_members_is_not_read(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)
    table = (entry + b"a") * 200_000
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 64, 64, len(table), 0, 0)
    archive.write_bytes(table + end)
    began_s = time.process_time()
    refused(archive, tmp_path)
    assert time.process_time() - began_s < 0.5  # all of it takes seconds


def test_the_state_folder_is_its_users_alone(tmp_path: Path) -> None:
    before = tmp_path / "made-before"
    before.mkdir(mode=0o755)
    for folder in (before, tmp_path / "new" / "deep"):
        state = StateFolder(folder)
        with state.claim("http://127.0.0.1:1"):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_mlflow_has_a_login_and_its_secrets_are_in_private_files(tmp_path: Path) -> None:
    state = StateFolder(tmp_path)
    arguments, environ = login_options(state)
    assert arguments == ["--app-name", "basic-auth"]
    password = password_file(state).read_text()
    assert len(password) == 64
    assert password not in str(environ)
    config = Path(environ["MLFLOW_AUTH_CONFIG_PATH"])
    assert f"admin_password = {password}" in config.read_text()
    assert "default_permission = NO_PERMISSIONS" in config.read_text()
    for file in tmp_path.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    # The same at the next start, or nobody could log in again.
    assert login_options(state) == (arguments, environ)


def test_mlflows_process_gets_no_secret_of_ours(tmp_path: Path) -> None:
    environ = {"MLOPS_ACCESS__API_KEYS": "secret", "PATH": "/bin"}
    for required in (False, True):
        access = {"required": True, "api_key": "a-key-of-tests-1"} if required else {}
        config = AppConfig.model_validate({"access": access})
        command, given = mlflow_server(config, StateFolder(tmp_path), 5_000, environ)
        assert "secret" not in str(given)
        assert given["PATH"] == "/bin"
        assert ("basic-auth" in command) is required
