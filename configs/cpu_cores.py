"""How many CPU cores this process may really use, and how replicas share them.

``os.cpu_count()`` tells the host's cores. In a container the quota of its cgroup is
what counts: an engine that starts 64 threads on half a core loses most of its time
to throttling. Called once, when the graph is built.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_CGROUP_ROOT = Path("/sys/fs/cgroup")
_PROCESS_CGROUPS = Path("/proc/self/cgroup")
_V2_FILES = ("cpu.max",)
_V1_FILES = ("cpu.cfs_quota_us", "cpu.cfs_period_us")


def available_cores(
    *,
    affinity: int | None = None,
    cgroup_root: Path = _CGROUP_ROOT,
    process_cgroups: Path = _PROCESS_CGROUPS,
) -> float:
    """Cores that this process may use: the least of CPU affinity and every cgroup quota above it.

    Args:
        affinity: Cores that the scheduler may put this process on; None asks the kernel.
        cgroup_root: Where the cgroup file systems (v2, v1 or both) are mounted.
        process_cgroups: The ``/proc/self/cgroup`` file.

    Returns:
        More than 0; a fraction such as 0.5 where the quota is half a core.
    """
    cores = float(len(os.sched_getaffinity(0)) if affinity is None else affinity)
    return min([cores, *_quotas(cgroup_root, process_cgroups)])


def share_cores(cores: float, replicas: int) -> tuple[int, int]:
    """Shares cores among model replicas.

    Args:
        cores: Cores that may be used.
        replicas: Wanted replicas; 0 chooses one for each whole core.

    Returns:
        Replica count and engine threads of each, both at least 1. One thread for each of
        many replicas gives more throughput than many threads in one, so the choice is that.
    """
    if replicas == 0:
        return max(1, math.floor(cores)), 1
    return replicas, max(1, math.floor(cores / replicas))


def _quotas(root: Path, process_cgroups: Path) -> Iterator[float]:
    try:
        lines = process_cgroups.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            for mount in (root, root / "unified"):
                yield from _walk_up(mount, path, _V2_FILES)
        elif "cpu" in controllers.split(","):
            for mount in (root / controllers, root / "cpu"):
                yield from _walk_up(mount, path, _V1_FILES)


def _walk_up(mount: Path, path: str, files: tuple[str, ...]) -> Iterator[float]:
    # A group may use no more than any group above it. Inside a container the path can be the
    # host's (v1) and missing under the mount; the mount itself is then the container's group.
    inner = PurePosixPath(path.lstrip("/"))
    for group in (inner, *inner.parents):
        if ".." not in group.parts and (cores := _quota(mount / group, files)) is not None:
            yield cores


def _quota(group: Path, files: tuple[str, ...]) -> float | None:
    try:
        words = " ".join((group / name).read_text(encoding="utf-8") for name in files)
        quota, period = words.split()
        cores = int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None  # no such group, or the word "max"
    return cores if cores > 0 else None  # v1 writes -1 for no limit
