"""Free memory goes back to the system."""

import asyncio
import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from deployments.telemetry.malloc import resident_bytes, trim_for_ever, trimmer

_PIECES, _BYTES = 2_000, 50_000


def resident_mb() -> float:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1_024


def test_holes_between_what_stays_are_given_back() -> None:
    trim = trimmer()
    if trim is None:
        pytest.skip("no glibc")
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    pieces = [libc.malloc(_BYTES) for _ in range(2 * _PIECES)]
    for piece in pieces:
        ctypes.memset(piece, 1, _BYTES)
    for piece in pieces[::2]:
        libc.free(piece)
    before = resident_mb()
    trim()
    given_back = before - resident_mb()
    for piece in pieces[1::2]:
        libc.free(piece)
    assert given_back > 0.7 * _PIECES * _BYTES / (1 << 20)


# In a process of its own: what is set stays set.
_MAPPED = """
import ctypes
from deployments.telemetry.malloc import map_large_pieces
class Facts(ctypes.Structure):
    _fields_ = [(str(i), ctypes.c_size_t) for i in range(10)]  # the fourth: mapped pieces
libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Facts
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
mapped = lambda: getattr(libc.mallinfo2(), "3")
def a_body():
    before = mapped()
    libc.malloc(200_000)
    return mapped() - before
libc.free(libc.malloc(20_000_000))
print(a_body(), map_large_pieces(), a_body())
libc.free(libc.malloc(20_000_000))
print(a_body())
"""


def test_a_large_body_leaves_no_hole_whatever_was_freed_before() -> None:
    if trimmer() is None:
        pytest.skip("no glibc")
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", _MAPPED], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["0", "True", "1", "1"]


def test_it_is_done_whenever_the_process_has_grown() -> None:
    # MiB before each look, and after each trim.
    sizes = iter([100, 90, 91, 93, 94, 90, 93, 95, 92])
    seen: list[str] = []

    def resident() -> int:
        size = next(sizes, None)
        if size is None:
            raise EOFError
        seen.append(str(size))
        return size << 20

    async def body() -> None:
        with pytest.raises(EOFError):
            await trim_for_ever(lambda: seen.append("trim"), 0.0, resident)
        await trim_for_ever(None)

    asyncio.run(body())
    assert seen == ["100", "trim", "90", "91", "93", "94", "trim", "90", "93", "95", "trim", "92"]


def test_what_is_resident_is_what_the_kernel_says() -> None:
    assert resident_bytes() / (1 << 20) == pytest.approx(resident_mb(), rel=0.05)
