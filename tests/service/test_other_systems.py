"""The codec's processes and the command line once more, in processes that find neither memfd nor `resource` nor `fcntl`.

What macOS and Windows lack is hidden by a `sitecustomize` that every Python process of the run reads first, workers too.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HIDING = Path(__file__).with_name("other_systems")
ALL = ("tests/service/pictures", "tests/service/cli")
# What exchanges messages with a worker, and what restores on the command line.
CHOSEN = (
    "tests/service/pictures/test_pool.py",
    "tests/service/pictures/workers",
    "tests/service/cli/test_batch.py::test_a_folder_and_again",
    "tests/service/cli/test_commands.py::test_a_file_is_restored_beside_itself",
)
LINUX_ONLY = (
    "tests/service/pictures/workers/test_limits.py",
    "tests/service/pictures/workers/test_framing.py::test_blobs_that_fit_lie_in_shared_memory_and_larger_ones_go_with_the_parcel",
    "tests/service/pictures/test_pool.py::test_a_worker_has_limits_and_knows_nothing_of_the_gateways_environment",
)
WITHOUT = ("-p", "no:cacheprovider", "-p", "no:xdist")


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("tests", "least"), [pytest.param(CHOSEN, 30, id="chosen"), pytest.param(ALL, 800, id="all", marks=pytest.mark.slow)]
)
def test_codecs_and_command_line_need_neither_memfd_nor_resource_nor_fcntl(root: Path, tests: tuple[str, ...], least: int) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in {"FORBID_SKIPS", "PYTEST_ADDOPTS"}}
    environment = {name: value for name, value in environment.items() if not name.startswith("PYTEST_XDIST")}
    environment["PYTHONPATH"] = str(HIDING)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *WITHOUT, *(f"--deselect={name}" for name in LINUX_ONLY), *tests],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > least


def test_the_processes_of_that_run_really_lack_them() -> None:
    code = "import os\nfor name in ('fcntl', 'resource'):\n  try: __import__(name); print(name)\n  except ImportError: pass\n"
    code += "print([name for name in ('memfd_create', 'posix_fallocate') if hasattr(os, name)])"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env={"PYTHONPATH": str(HIDING)}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
