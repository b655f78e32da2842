"""A clock that jumps: of all Python processes that are started with ``environ``, together."""

import mmap
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.harness.machine import ROOT

_SOURCE = ROOT / "tests" / "system" / "chaos_clock.c"


class JumpingClock:
    """What a library loaded before all others adds to the wall clock; there is none without ``cc``.

    Attributes:
        environ: For the processes that shall have it; empty where it cannot be built.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self._file.write_bytes(bytes(8))
        self.environ: dict[str, str] = {}
        if compiler := shutil.which("cc"):
            library = folder / "clock.so"
            command = [
                compiler,
                "-shared",
                "-fPIC",
                "-O2",
                "-o",
                str(library),
                str(_SOURCE),
                "-ldl",
            ]
            subprocess.run(command, check=True)
            self.environ = {"LD_PRELOAD": str(library), "CHAOS_CLOCK": str(self._file)}

    @contextmanager
    def jumped(self, seconds: int) -> Iterator[None]:
        """It is ahead by ``seconds``, behind where they are negative; then right again."""
        self._set(seconds)
        try:
            yield
        finally:
            self._set(0)

    def _set(self, seconds: int) -> None:
        with self._file.open("r+b") as file, mmap.mmap(file.fileno(), 8) as shared:
            shared[:] = struct.pack("=q", seconds)
