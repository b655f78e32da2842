"""One pinned environment for each peer: ``python -m benchmarks.comparison.environments``.

An environment is a virtual environment with exactly the pins of the peer's
requirements.txt. It is made again when that file changes. A peer that cannot be
installed is skipped with the reason; it never ends a run.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

from benchmarks.comparison.catalogue import PEERS
from benchmarks.comparison.errors import NotInstallable
from benchmarks.harness.machine import ROOT
from benchmarks.harness.models import STATE_DIR

PEERS_DIR = ROOT / "benchmarks" / "peers"
_INSTALL_WAIT_S = 900


def requirements(folder: str) -> dict[str, str]:
    """The pins of a peer: package to version."""
    lines = (PEERS_DIR / folder / "requirements.txt").read_text(encoding="utf-8").split()
    return dict(line.lower().split("==", 1) for line in lines if "==" in line)


def ensure(folder: str) -> Path:
    """The Python of a peer's environment, installed if need be.

    Raises:
        NotInstallable: pip failed, or took too long.
    """
    pins = PEERS_DIR / folder / "requirements.txt"
    environment = STATE_DIR / folder
    python, stamp = environment / "bin" / "python", environment / "installed"
    digest = hashlib.sha256(pins.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text(encoding="utf-8") == digest:
        return python
    print(f"installing {folder}: {len(requirements(folder))} packages", file=sys.stderr)
    pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    try:
        venv.create(environment, with_pip=True, clear=True)
        done = subprocess.run(
            [*pip, "install", "--no-deps", "--requirement", str(pins)],
            capture_output=True,
            text=True,
            timeout=_INSTALL_WAIT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise NotInstallable(f"{folder}: {error}") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise NotInstallable(f"{folder}: {lines[0] if lines else 'pip failed'}")
    stamp.write_text(digest, encoding="utf-8")
    return python


def library_path(python: Path) -> str:
    """``LD_LIBRARY_PATH`` under which Triton's core finds the interpreter's libpython."""
    code = "import sysconfig; print(sysconfig.get_config_var('LIBDIR'))"
    found = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True)
    paths = [found.stdout.strip(), os.environ.get("LD_LIBRARY_PATH", "")]
    return os.pathsep.join(path for path in paths if path)


def main() -> int:
    """Makes the environments of all peers, or of those named; 1 if one could not be made."""
    parser = argparse.ArgumentParser(description=__doc__)
    folders = sorted({peer.folder for peer in PEERS if peer.folder})
    parser.add_argument("folders", nargs="*", help=f"of {', '.join(folders)}; default all")
    failed = 0
    for folder in parser.parse_args().folders or folders:
        try:
            print(f"{folder}: {ensure(folder)}", file=sys.stderr)
        except NotInstallable as error:
            print(f"skipped {error}", file=sys.stderr)
            failed = 1
    return failed


def peer_versions() -> dict[str, str]:
    """The pin of each peer's package."""
    return {
        f"peer {peer.name}": f"{peer.package} {requirements(peer.folder)[peer.package]}"
        for peer in PEERS
        if peer.folder
    }


if __name__ == "__main__":
    sys.exit(main())
