"""Cores of a container, on made-up cgroup trees."""

from pathlib import Path

import pytest

from configs.cpu_cores import available_cores, share_cores


def cores_of(tmp_path: Path, memberships: str, files: dict[str, str], affinity: int = 8) -> float:
    root = tmp_path / "cgroup"
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    processes = tmp_path / "self"
    processes.write_text(memberships, encoding="utf-8")
    return available_cores(affinity=affinity, cgroup_root=root, process_cgroups=processes)


@pytest.mark.parametrize(
    ("memberships", "files", "cores"),
    [
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 0.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 8),
        ("0::/\n", {"cpu.max": "1600000 100000\n"}, 8),
        ("0::/\n", {}, 8),
        # The least of the whole chain of groups.
        ("0::/a/b\n", {"a/cpu.max": "150000 100000", "a/b/cpu.max": "400000 100000"}, 1.5),
        # A path that leaves the namespace is not followed.
        ("0::/../x\n", {"cpu.max": "200000 100000"}, 2),
        (
            "4:memory:/\n3:cpu,cpuacct:/docker/abc\n",
            {
                "cpu,cpuacct/cpu.cfs_quota_us": "250000\n",
                "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            2.5,
        ),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        (
            "1:cpu:/\n0::/\n",
            {
                "cpu/cpu.cfs_quota_us": "300000",
                "cpu/cpu.cfs_period_us": "100000",
                "unified/cpu.max": "100000 100000",
            },
            1,
        ),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "5", "cpu/cpu.cfs_period_us": "0"}, 8),
        ("0::/\n", {"cpu.max": "garbage"}, 8),
    ],
)
def test_the_least_limit_counts(
    tmp_path: Path, memberships: str, files: dict[str, str], cores: float
) -> None:
    assert cores_of(tmp_path, memberships, files) == cores


def test_affinity_counts_where_it_is_the_least(tmp_path: Path) -> None:
    assert cores_of(tmp_path, "0::/\n", {"cpu.max": "400000 100000"}, affinity=3) == 3


def test_without_cgroups_affinity_alone_counts(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert available_cores(affinity=4, cgroup_root=missing, process_cgroups=missing) == 4


def test_this_machine_has_some_core() -> None:
    assert available_cores() > 0


@pytest.mark.parametrize(
    ("cores", "replicas", "shared"),
    [
        (8, 0, (8, 1)),
        (3.7, 0, (3, 1)),
        (0.5, 0, (1, 1)),
        (8, 3, (3, 2)),
        (8, 2, (2, 4)),
        (2, 5, (5, 1)),
        (0.5, 1, (1, 1)),
    ],
)
def test_cores_are_shared_among_replicas(
    cores: float, replicas: int, shared: tuple[int, int]
) -> None:
    assert share_cores(cores, replicas) == shared
