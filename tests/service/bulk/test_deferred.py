"""A run that has nothing to do opens no model; one that has opens what was described, or says what is wrong."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from service.bulk.deferred import defer_restorer
from service.bulk.picture import Restored
from service.errors import EngineUnavailable, NotFound
from service.restoration.parameters import RestoreParameters
from service.settings import Settings
from tests.models import release_tiny, tiny_spec
from tests.service.bulk.conftest import png

OPENED = ("onnxruntime", "torch", "rich", "imagecodecs", "service.scheduling", "service.pictures.workers", "service.sampling")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    release_tiny(tmp_path / "models")
    return Settings(model_repository=tmp_path / "models", codec_workers=1, learn=False)


async def test_it_is_described_as_it_is_once_opened(settings: Settings) -> None:
    async with defer_restorer(settings, RestoreParameters()) as restorer:
        described = restorer.digest, restorer.steps, restorer.suffixes(png(1), RestoreParameters())
        await restorer.start()
        assert (restorer.digest, restorer.steps, restorer.suffixes(png(1), RestoreParameters())) == described
        assert restorer.at_once >= 2
        assert isinstance(await restorer.restore(png(1), RestoreParameters()), Restored)


async def test_an_unknown_task_is_refused_before_anything_is_opened(settings: Settings) -> None:
    with pytest.raises(NotFound, match="expected one of"):
        async with defer_restorer(settings, RestoreParameters(task="repaint")):
            pass


async def test_weights_that_are_replaced_meanwhile_are_not_used(settings: Settings) -> None:
    async with defer_restorer(settings, RestoreParameters()) as restorer:
        shutil.rmtree(settings.model_repository)
        release_tiny(settings.model_repository, tiny_spec(), seed=1)
        with pytest.raises(EngineUnavailable, match="replaced while the run began"):
            await restorer.start()


def test_a_run_with_nothing_to_do_imports_no_engine(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RDDM_MODEL_REPOSITORY", str(settings.model_repository))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "one.png").write_bytes(png(1))
    argv = [str(tmp_path / "in"), str(tmp_path / "out")]
    script = f"import sys; from service.cli.batch import batch; assert batch({argv!r}) == 0; print(*sys.modules)"
    first, second = (subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True) for _ in range(2))
    assert "1 restored before" in second.stdout
    imported = [set(run.stdout.split()) & set(OPENED) for run in (first, second)]
    assert imported[0] >= {"onnxruntime", "service.scheduling"}
    assert imported[1] == set()
