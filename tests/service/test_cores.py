"""Cores are counted as a container is allowed to use them: control groups of both versions, nested, absent or damaged."""

import math
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from service import cores
from service.cores import LOWER_BY, cpu_limit, give_way, usable_cores

V2 = "0::{path}\n"
V1 = "9:name=systemd:/\n4:memory:{path}\n3:cpu,cpuacct:{path}\n0::/\n"


def described(folder: Path, groups: str, mounts: list[str]) -> Path:
    """A /proc/self; mounts are `type root point options`."""
    lines = []
    for number, mount in enumerate(mounts):
        kind, root, point, options = mount.split()
        lines.append(f"{30 + number} 23 0:28 {root} {folder}{point} rw,nosuid shared:4 - {kind} {kind} {options}\n")
    (folder / "proc").mkdir()
    (folder / "proc" / "cgroup").write_text(groups)
    (folder / "proc" / "mountinfo").write_text("22 1 8:1 / / rw - ext4 /dev/root rw\n" + "".join(lines))
    return folder / "proc"


def put(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.mark.parametrize(
    ("text", "limit"), [("200000 100000\n", 2), ("max 100000\n", math.inf), ("50000 100000\n", 0.5), ("?", math.inf)]
)
def test_version_2_reads_the_quota_of_the_container(tmp_path: Path, text: str, limit: float) -> None:
    proc = described(tmp_path, V2.format(path="/"), ["cgroup2 / /cg rw"])
    put(tmp_path / "cg" / "cpu.max", text)
    assert cpu_limit(proc) == limit


def test_the_least_limit_of_all_groups_around_a_process_counts(tmp_path: Path) -> None:
    proc = described(tmp_path, V2.format(path="/pods/pod/container"), ["cgroup2 / /cg rw"])
    put(tmp_path / "cg" / "pods" / "pod" / "cpu.max", "300000 100000\n")
    put(tmp_path / "cg" / "pods" / "pod" / "container" / "cpu.max", "max 100000\n")
    put(tmp_path / "cpu.max", "100000 100000\n")  # beside the mount, so no group
    assert cpu_limit(proc) == 3


@pytest.mark.parametrize("mount", ["/docker/id", "/"])
def test_version_1_reads_quota_and_period_where_the_group_is_mounted(tmp_path: Path, mount: str) -> None:
    proc = described(
        tmp_path,
        V1.format(path="/docker/id"),
        [f"cgroup {mount} /cg/memory rw,memory", f"cgroup {mount} /cg/cpu rw,cpu,cpuacct", "cgroup2 / /cg/unified rw"],
    )
    folder = tmp_path / "cg" / "cpu" / ("docker/id" if mount == "/" else "")
    put(folder / "cpu.cfs_quota_us", "150000\n")
    put(folder / "cpu.cfs_period_us", "50000\n")
    assert cpu_limit(proc) == 3
    put(folder / "cpu.cfs_quota_us", "-1\n")
    assert cpu_limit(proc) == math.inf


def test_a_system_without_control_groups_limits_nothing(tmp_path: Path) -> None:
    assert cpu_limit(tmp_path / "nowhere") == math.inf
    assert cpu_limit(described(tmp_path, "", [])) == math.inf


@pytest.mark.parametrize(("limit", "expected"), [(2.0, 2), (1.5, 2), (0.1, 1), (math.inf, 64), (100.0, 64)])
def test_a_pod_of_few_cpus_on_a_large_machine_gets_few(monkeypatch: pytest.MonkeyPatch, limit: float, expected: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    monkeypatch.setattr(cores, "cpu_limit", lambda: limit)
    assert usable_cores() == expected


@pytest.mark.skipif(sys.platform != "linux", reason="threads have a niceness of their own on Linux alone")
def test_a_thread_that_gives_way_is_nicer_and_no_other_is() -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before = niceness()
    with ThreadPoolExecutor(1, initializer=give_way) as pool:
        assert pool.submit(niceness).result() == min(19, before + LOWER_BY)
    assert niceness() == before
