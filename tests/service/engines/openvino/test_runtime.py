"""OpenVINO behind the one contract: ONNX Runtime's answers, the same bytes in company, refusals in the service's words."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import openvino
import pytest

from service.engines.embedded.engine import EmbeddedEngine
from service.engines.local import LocalEngine, Threads
from service.engines.openvino.runtime import KEPT_SHAPES, OpenVinoRuntime
from service.engines.registry import open_engine
from service.errors import EngineUnavailable
from service.settings import Settings
from tests.calls import Asking, picture, served, ticket


@pytest.fixture
async def engine(repository: Path, tmp_path: Path) -> AsyncIterator[LocalEngine]:
    one = LocalEngine(repository, OpenVinoRuntime(tmp_path / "cache"), Threads(2))
    await one.start()
    yield one
    await one.close()


async def test_it_proves_itself_and_answers_as_onnx_runtime_does(engine: LocalEngine, repository: Path) -> None:
    other = EmbeddedEngine(repository, Threads(1))
    await other.start()
    assert "tiny" in engine.models()
    np.testing.assert_allclose(await Asking(engine).tiny(2), await Asking(other).tiny(2), atol=1e-5)
    await other.close()


async def test_a_row_has_the_same_bytes_alone_and_in_company(engine: LocalEngine) -> None:
    batch, alone = await Asking(engine).tiny(4), await Asking(engine).tiny(1)
    np.testing.assert_array_equal(alone[0], batch[0])


async def test_networks_are_kept_for_the_sizes_used_last(engine: LocalEngine, tmp_path: Path) -> None:
    time = np.full((1, 2), 500, np.float32)
    for side in range(8, 8 + 4 * (KEPT_SHAPES + 2), 4):
        await engine.predict(picture(side=side), picture(side=side, seed=1), time, ticket(served(engine)))
    _, networks = engine._versions.find(served(engine))
    assert len(networks.first._compiled) == KEPT_SHAPES  # type: ignore[attr-defined]
    assert list((tmp_path / "cache").iterdir()), "what was compiled was not kept on the disk"


async def test_a_cancelled_call_leaves_the_engine_free(engine: LocalEngine) -> None:
    calls = [asyncio.create_task(Asking(engine).tiny()) for _ in range(8)]
    await asyncio.sleep(0)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    async with asyncio.timeout(60):
        await Asking(engine).tiny()


def test_a_precision_that_the_processor_lacks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino.Core, "get_property", lambda *_: ["FP32", "INT8"])
    with pytest.raises(EngineUnavailable, match=r"does not compute in bf16; OpenVINO names \['FP32', 'INT8'\]"):
        OpenVinoRuntime(tmp_path, "bf16")


def test_it_is_opened_by_name_and_keeps_its_cache_where_caches_belong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    engine, _ = open_engine(Settings(engine="openvino", model_repository=tmp_path))
    assert isinstance(engine, LocalEngine)
    for wrong in ({"precision": "bf16"}, {"engine": "openvino", "device": "cuda"}):
        with pytest.raises(ValueError, match="openvino"):
            Settings(**wrong)
