"""How many cores this process may use: what the operating system grants, less what a container's CPU limit takes away."""

import contextlib
import math
import os
import platform
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc/self")
LOWER_BY = 10  # steps of niceness: beside one thread without them a core gives a tenth of its time


def usable_cores() -> int:
    """Cores of the process's affinity, at most the CPU limit of its cgroup and of those around it, rounded up; at least 1."""
    return max(1, math.ceil(min(_granted_cores(), cpu_limit())))


def _granted_cores() -> int:
    """macOS and Windows tell of no affinity here: all cores."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor() -> str:
    """The processor's name."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def give_way() -> None:
    """From now on this thread computes when others leave a core free, and a tenth of the time where none does.

    Linux alone has a niceness for each thread; elsewhere threads share alike.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + LOWER_BY))


def cpu_limit(proc: Path = PROC) -> float:
    """CPUs that control groups (version 1 or 2) allow this process; infinite where nothing limits it or none can be read.

    proc: the folder /proc/self, whose `cgroup` names the groups and whose `mountinfo` tells where their files are.
    """
    try:
        paths = dict(_group_paths((proc / "cgroup").read_text("utf-8")))
        mounts = list(_group_mounts((proc / "mountinfo").read_text("utf-8")))
    except OSError:
        return math.inf
    limits = (_limit_of(folder) for kind, root, mount in mounts if kind in paths for folder in _folders(mount, root, paths[kind]))
    return min(limits, default=math.inf)


def _group_paths(text: str) -> Iterator[tuple[str, str]]:
    """(`cgroup2` or `cgroup`, path) of the groups that can limit CPUs; a line is `number:controllers:path`."""
    for line in text.splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:
            yield "cgroup2", path
        elif "cpu" in controllers.split(","):
            yield "cgroup", path


def _group_mounts(text: str) -> Iterator[tuple[str, str, Path]]:
    """(file system, the group that is its root, where it is mounted) of each hierarchy that can limit CPUs."""
    for line in text.splitlines():
        fields, _, described = line.partition(" - ")
        kind, _, options = described.split(" ", 2)
        if kind == "cgroup2" or (kind == "cgroup" and "cpu" in options.split(",")):
            root, mount = fields.split()[3:5]
            yield kind, root, Path(mount)


def _folders(mount: Path, root: str, path: str) -> Iterator[Path]:
    """The group's folder and those above it, up to the mount. A container may see its own group as the mount alone."""
    inside = Path(path).relative_to(root) if Path(path).is_relative_to(root) else Path()
    folder = mount / inside.relative_to(inside.anchor)
    yield from (one for one in (folder, *folder.parents) if one.is_relative_to(mount))


def _limit_of(folder: Path) -> float:
    """Of one group: `cpu.max` holds `quota period` or `max period`; version 1 has a file for each, and -1 for none."""
    try:
        if (file := folder / "cpu.max").is_file():
            quota, period = file.read_text("utf-8").split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text("utf-8").strip() for name in ("quota", "period"))
        return math.inf if quota in {"max", "-1"} else int(quota) / int(period)
    except (OSError, ValueError):
        return math.inf
