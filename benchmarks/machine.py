"""What a measurement ran on."""

import os
import platform
import re
import time
from pathlib import Path
from typing import Any

from service.cores import processor, usable_cores

EXTENSIONS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8")  # that change a network's speed


def peak_memory(process: int | str = "self") -> float:
    """MiB that a process has held at most so far (Linux). ru_maxrss, which Python offers, counts the memory of who started it too.

    Raises OSError where it has ended.
    """
    status = Path(f"/proc/{process}/status").read_text("utf-8")
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0.0)


def machine() -> dict[str, Any]:
    """The processor, its cores and vector extensions, the system, the load of the last minute, and when (UTC)."""
    file = Path("/proc/cpuinfo")
    text = file.read_text("utf-8") if file.exists() else ""
    flags = re.search(r"^flags\s*: (.+)$", text, re.MULTILINE)
    able = set(flags.group(1).split()) if flags else set()
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "processor": processor(),
        "cores": usable_cores(),
        "able": [name for name in EXTENSIONS if name in able],
        "system": platform.platform(),
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
    }
