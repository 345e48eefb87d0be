"""What is said of the machine and of its processes."""

import subprocess
import sys

import numpy as np
import pytest

from benchmarks.machine import peak_memory

CHILD = "from benchmarks.machine import peak_memory; print(peak_memory())"


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_a_process_that_a_large_one_starts_has_its_own_peak() -> None:
    before = peak_memory()
    held = np.ones(2**27, np.uint8)
    assert peak_memory() >= before
    child = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True)
    assert 1 < float(child.stdout) < held.nbytes / 2**20
