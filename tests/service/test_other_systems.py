"""The codec's processes and the command line once more, in processes that find neither memfd nor `resource` nor `fcntl`.

What macOS and Windows lack is hidden by a `sitecustomize` that every Python process of the run reads first, workers too.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HIDING = Path(__file__).with_name("other_systems")
# Of the pool what exchanges messages; of the command line what restores, here and on a gateway.
RUN = {
    "tests/service/pictures/test_pool.py": "arrives or given_up or no_pictures_fault or services_fault or plain_png_needs",
    "tests/service/pictures/test_limits.py": "process or one",
    "tests/service/cli/test_batch.py": "a_folder_and_again",
    "tests/service/cli/test_commands.py": "a_file_is_restored_beside_itself",
}
# cloudcoil's plugin warns where there is no fcntl.
WITHOUT = ["-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:cloudcoil"]
CHOSEN = " or ".join(f"{Path(file).stem} and ({names})" for file, names in RUN.items())


@pytest.mark.timeout(600)
def test_without_memfd_resource_and_fcntl_pictures_are_read_and_restored(root: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in {"FORBID_SKIPS", "PYTEST_ADDOPTS"}}
    environment = {name: value for name, value in environment.items() if not name.startswith("PYTEST_XDIST")}
    environment["PYTHONPATH"] = str(HIDING)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            "-p",
            "no:cloudcoil",
            "-k",
            CHOSEN,
            *RUN,
        ],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


def test_the_processes_of_that_run_really_lack_them() -> None:
    code = "import os\nfor name in ('fcntl', 'resource'):\n  try: __import__(name); print(name)\n  except ImportError: pass\n"
    code += "print([name for name in ('memfd_create', 'posix_fallocate') if hasattr(os, name)])"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env={"PYTHONPATH": str(HIDING)}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
