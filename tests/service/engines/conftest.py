"""A repository with small models, and a real tritonserver on a copy of it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from docker.triton.server import Server
from service.engines.triton import step_timeout
from tests.graphs import put, slow_graph, slow_spec
from tests.models import release_tiny
from tests.servers import started


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny`, a network, and `slow`, which takes as long as it is asked to. Not to be changed: see `repository`."""
    folder = tmp_path_factory.mktemp("exported")
    release_tiny(folder)
    put(folder, slow_spec(), slow_graph())
    return folder


@pytest.fixture
def repository(exported: Path, tmp_path: Path) -> Path:
    """A copy for one test."""
    return Path(shutil.copytree(exported, tmp_path / "repository"))


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """`slow` takes longer than its pixels say, and so does everything on a machine that is busy."""
    monkeypatch.setattr(step_timeout, "FLOOR_SECONDS", 120.0)


@pytest.fixture(scope="session")
def second_version(tmp_path_factory: pytest.TempPathFactory, exported: Path) -> Path:
    """`tiny` with a version 2 that answers differently."""
    folder = Path(shutil.copytree(exported, tmp_path_factory.mktemp("second") / "repository"))
    release_tiny(folder, seed=1)
    return folder


@pytest.fixture(scope="session")
def server(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that a test leaves as it found it; its repository is `server.repository`."""
    folder = Path(shutil.copytree(exported, tmp_path_factory.mktemp("served") / "repository"))
    yield from started(folder)
