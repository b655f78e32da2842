"""One stream of JSON lines out of files that grow, come later and are rotated."""

import json
from pathlib import Path

import pytest

from cli.__main__ import main
from operations.local_stack.log_files import LogFiles


def write(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def test_lines_come_once_and_only_when_they_are_complete(tmp_path: Path) -> None:
    first = tmp_path / "replica_Model.log"
    write(first, '{"message": "one"}\n{"mess')
    files = LogFiles(tmp_path, from_start=True)
    assert list(files.read()) == ['{"message": "one"}']
    write(first, 'age": "two"}\n')
    write(tmp_path / "replica_later.log", "no JSON\n")
    assert list(files.read()) == [
        '{"message": "two"}',
        json.dumps({"file": "replica_later.log", "message": "no JSON"}),
    ]
    assert list(files.read()) == []
    files.close()


def test_a_rotated_file_is_read_to_its_end_and_the_new_one_from_its_start(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    write(log, '{"n": 1}\n')
    files = LogFiles(tmp_path, from_start=False)
    write(log, '{"n": 2}\n')
    log.rename(tmp_path / "a.log.1")
    write(log, '{"n": 3}\n')
    assert sorted(files.read()) == ['{"n": 2}', '{"n": 3}']
    files.close()


def test_the_files_of_a_replica_that_is_gone_are_let_go(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    write(log, '{"n": 1}\n')
    files = LogFiles(tmp_path, from_start=True)
    log.unlink()
    assert [list(files.read()) for _ in range(2)] == [['{"n": 1}'], []]
    assert not files._open
    files.close()


def test_following_prints_what_comes_until_it_is_over(tmp_path: Path) -> None:
    folder = tmp_path / "made_later"
    files = LogFiles(folder, from_start=True)
    looks = iter([False, True])

    def is_over() -> bool:
        folder.mkdir(exist_ok=True)
        write(folder / "a.log", '{"n": 1}\n')
        return next(looks)

    assert list(files.follow(is_over)) == ['{"n": 1}'] * 2
    files.close()


def test_the_verb_prints_a_folder_and_names_one_that_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "a.log", "started\n")
    assert main(["logs", "--dir", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": "a.log", "message": "started"}
    assert main(["logs", "--dir", str(tmp_path / "none")]) == 1
    assert "is no folder" in capsys.readouterr().err
