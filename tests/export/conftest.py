"""What several tests of an export need."""

from pathlib import Path

import pytest

from export.release import Release
from tests.models import release_tiny, tiny_spec


@pytest.fixture
def written(tmp_path: Path) -> Release:
    return release_tiny(tmp_path)


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of a model that takes one step."""
    folder = tmp_path_factory.mktemp("source")
    release_tiny(folder, tiny_spec(default_steps=1))
    return folder
