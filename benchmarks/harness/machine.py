"""What a figure cannot be read without: machine, versions, commit, and how quiet it was."""

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from configs.cpu_cores import available_cores

ROOT = Path(__file__).resolve().parents[2]
_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8")
_OURS = ("ray", "onnxruntime", "tokenizers", "numpy", "mlflow", "uvloop", "orjson")


def whole_cores() -> int:
    """Cores that this process may use, as a whole number of at least one."""
    return max(1, int(available_cores()))


def machine() -> dict[str, object]:
    """Processor, flags that matter to INT8, cores, memory, kernel."""
    cpu = _fields(Path("/proc/cpuinfo"))
    memory = _fields(Path("/proc/meminfo")).get("MemTotal", "0 kB")
    flags = set(cpu.get("flags", cpu.get("Features", "")).split())
    return {
        "processor": cpu.get("model name", platform.machine()),
        "flags": [flag for flag in _FLAGS if flag in flags],
        "cores": available_cores(),
        "memory_gb": round(int(memory.split()[0]) / 2**20, 1),
        "kernel": platform.release(),
    }


def load_average() -> float:
    """Running processes over the last minute; about 0 on a quiet machine."""
    return os.getloadavg()[0]


def versions() -> dict[str, str]:
    """Python and the packages that ours runs on."""
    return {"python": sys.version.split()[0], **{name: version(name) for name in _OURS}}


def commit() -> str:
    """The commit that was measured, with ``-dirty`` when files differ from it."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()


def _fields(path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        found.setdefault(name.strip(), value.strip())
    return found
