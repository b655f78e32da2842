"""Pinned archives and what is read from them."""

import io
import subprocess
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.data.icwsm import _read_domain, label_of, positive_share
from pipelines.data.sources import VADER, fetch, sha256_of, unpack
from pipelines.errors import SourceError


def test_a_cached_archive_with_other_bytes_is_refused(tmp_path: Path) -> None:
    (tmp_path / VADER.filename).write_bytes(b"not the archive")
    with pytest.raises(SourceError, match=f"pinned is {VADER.sha256}"):
        fetch(VADER, tmp_path)


def test_a_cached_archive_with_the_pinned_bytes_needs_no_network(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(b"bytes")
    source = replace(VADER, filename="a.zip", sha256=sha256_of(path))
    assert fetch(source, tmp_path) == path


def test_pip_is_given_the_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        seen.extend([*command, Path(command[-1]).read_text()])
        return subprocess.CompletedProcess(command, 1, "", "hashes do not match")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(SourceError, match="hashes do not match"):
        fetch(VADER, tmp_path)
    assert "--require-hashes" in seen
    assert f"vaderSentiment==0.5 --hash=sha256:{VADER.sha256}" in seen[-1]


def test_an_archive_cannot_write_outside_its_folder(tmp_path: Path) -> None:
    evil = tmp_path / "evil.zip"
    with zipfile.ZipFile(evil, "w") as zipped:
        zipped.writestr("../outside.txt", "x")
    with pytest.raises(SourceError, match="leaves the archive"):
        unpack(evil, tmp_path / "unzipped")
    evil = tmp_path / "evil.tar.gz"
    with tarfile.open(evil, "w:gz") as tar:
        member = tarfile.TarInfo("../outside.txt")
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))
    with pytest.raises(SourceError, match="leaves the archive"):
        unpack(evil, tmp_path / "untarred")
    linked = tmp_path / "linked.tar.gz"
    with tarfile.open(linked, "w:gz") as tar:
        member = tarfile.TarInfo("link.txt")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tar.addfile(member)
    with pytest.raises(SourceError, match="not a plain file"):
        unpack(linked, tmp_path / "untarred")
    assert not (tmp_path / "outside.txt").exists()
    assert not (tmp_path / "unzipped").exists()


def test_targets_are_the_share_of_positive_raters() -> None:
    assert positive_share([1, 4, 0, -3]) == pytest.approx(2.5 / 4)
    assert positive_share([-1, -2]) == 0.0
    assert positive_share([3]) == 1.0


def test_a_mean_rating_near_zero_has_no_label() -> None:
    assert [label_of(mean) for mean in (-0.3, -0.29, 0.0, 0.29, 0.3)] == [
        "NEGATIVE",
        None,
        None,
        None,
        "POSITIVE",
    ]


def test_ground_truth_lines_meet_their_ratings(tmp_path: Path) -> None:
    ratings = b"\xef\xbb\xbf1_1\t1.5\t0.5\t[1, 2]\r\n1_2\t-1.0\t0.0\t[-1, 0]\r\n"
    (tmp_path / "x_anonDataRatings.txt").write_bytes(ratings)
    truth = "1_1\t1.5\tpas clichés\r\n".encode() + "1_2\t-1.0\t£5 lost\r\n".encode("latin-1")
    (tmp_path / "x_GroundTruth.txt").write_bytes(truth)
    found = [(row.text, row.label, row.target) for row in _read_domain(tmp_path, "movies", "x")]
    assert found == [("pas clichés", "POSITIVE", 1.0), ("£5 lost", "NEGATIVE", 0.25)]
