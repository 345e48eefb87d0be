"""Real tritonservers for the tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from docker.triton.server import NotInstallable, Server, running


def started(folder: Path, *options: str) -> Iterator[Server]:
    """One, on a repository, with further options of its command line; skips where it cannot be installed."""
    try:
        context = running(folder, *options)
        server = context.__enter__()
    except NotInstallable as missing:
        pytest.skip(f"tritonserver cannot be installed: {missing}")
    yield server
    died = server.process is not None and server.process.poll()
    log = server.log.read_text(errors="replace")[-3000:]
    server.kill()  # a graceful end is seconds of waiting; test_one_command_starts_both_and_ends_both has one
    context.__exit__(None, None, None)
    assert not died, f"tritonserver ended by itself with {died}:\n{log}"
