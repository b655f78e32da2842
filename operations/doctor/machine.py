"""Facts of this machine: cores, GPUs, ports, space, packages. ``check_machine.py`` judges them."""

import os
import platform
import re
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from configs.cpu_cores import available_cores
from operations.local_stack.ports import is_free

_MIB = 1 << 20
_SMI_TIMEOUT_S = 10
_PIN = re.compile(r"^([A-Za-z0-9_.-]+)(?:\[.*\])?==([^\s;]+)")
_QUERY = ("--query-gpu=name,memory.total,memory.free", "--format=csv,noheader,nounits")


@dataclass(frozen=True, slots=True)
class Card:
    """One GPU."""

    name: str
    total_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Machine:
    """This machine, as this process may use it.

    Attributes:
        cores: By affinity and cgroup quota.
        cards: None where neither nvidia-smi nor torch can list them.
        open_files: Soft limit.
        python: ``3.11.7``.
        packages: Installed version by normalised name, of those that are pinned.
        pinned: Version by normalised name in constraints.txt; empty where there is no such file.
        free_bytes: Free space by the folder that needs it.
        read_only: Those of the folders in which nothing can be written.
    """

    cores: float
    cards: tuple[Card, ...] | None
    open_files: int
    python: str
    packages: Mapping[str, str]
    pinned: Mapping[str, str]
    free_bytes: Mapping[str, int]
    read_only: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Ports:
    """TCP ports of one machine.

    Attributes:
        wanted: By the name of the listener.
        taken: Those on which something listens now.
        ours: Whether the server answers, so that it holds its own ports.
    """

    wanted: Mapping[str, int]
    taken: frozenset[int]
    ours: bool


def this_machine(folders: Iterable[str], constraints: Path) -> Machine:
    """The facts.

    Args:
        folders: What needs space. For one that does not exist yet, its parent is measured.
        constraints: The file with the pinned packages.
    """
    places = {folder: _existing(Path(folder)) for folder in folders}
    pinned = pins(constraints.read_text(encoding="utf-8")) if constraints.is_file() else {}
    return Machine(
        cores=available_cores(),
        cards=_cards(),
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        python=platform.python_version(),
        packages=_installed(pinned),
        pinned=pinned,
        free_bytes={folder: shutil.disk_usage(at).free for folder, at in places.items()},
        read_only=frozenset(folder for folder, at in places.items() if not _writable(at)),
    )


def engine_providers() -> list[str]:
    """Where the onnxruntime that is installed here can compute, as it names them."""
    import onnxruntime  # noqa: PLC0415 - only where it is asked for

    found: list[str] = onnxruntime.get_available_providers()
    return found


def these_ports(wanted: Mapping[str, int], *, ours: bool) -> Ports:
    """Which of the wanted ports are taken on this machine."""
    taken = frozenset(port for port in wanted.values() if not is_free(port))
    return Ports(wanted, taken, ours)


def pins(text: str) -> dict[str, str]:
    """Name to version of the lines ``name==version`` of a constraints file."""
    found = (_PIN.match(line.strip()) for line in text.splitlines())
    return {_normal(match[1]): match[2] for match in found if match is not None}


def cards_of(listing: str) -> tuple[Card, ...]:
    """What ``nvidia-smi`` lists: name, total and free MiB in each line."""
    cards = []
    for line in listing.splitlines():
        name, total, free = (part.strip() for part in line.rsplit(",", 2))
        cards.append(Card(name, int(total) * _MIB, int(free) * _MIB))
    return tuple(cards)


def _cards() -> tuple[Card, ...] | None:
    tool = shutil.which("nvidia-smi")
    if tool is not None:
        try:
            listing = subprocess.run(  # noqa: S603
                [tool, *_QUERY], capture_output=True, text=True, check=True, timeout=_SMI_TIMEOUT_S
            ).stdout
            return cards_of(listing)
        except (OSError, ValueError, subprocess.SubprocessError):
            return None
    try:
        import torch  # noqa: PLC0415 - takes seconds, and serving on ONNX has none
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return ()
    found = []
    for position in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(position)
        found.append(Card(torch.cuda.get_device_name(position), total, free))
    return tuple(found)


def _installed(names: Iterable[str]) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue  # an extra that this machine does not need
    return found


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if os.path.exists(path))  # noqa: PTH110 - False where it may not be looked at


def _writable(folder: Path) -> bool:
    # A file is made and forgotten: permissions alone do not say what a mount or a quota refuses.
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"x")
    except OSError:
        return False
    return True
