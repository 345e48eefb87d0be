"""Put before every other path, this makes a Python process on Linux find what one on Windows finds: see test_other_systems.py."""

import contextlib
import os
import sys

with contextlib.suppress(ImportError):
    import psutil  # noqa: F401  its own Linux part wants `resource`

for name in ("fcntl", "resource"):
    sys.modules[name] = None  # type: ignore[assignment]  an import of it then says that it is not there
for name in ("memfd_create", "fork", "posix_fallocate"):
    if hasattr(os, name):
        delattr(os, name)
