"""The Triton engine against a real tritonserver: it answers as the embedded one does, over every transport."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from tritonclient.grpc.aio import InferenceServerClient

from docker.triton.server import Server
from service.engines.embedded.engine import EmbeddedEngine
from service.engines.triton import transport
from service.engines.triton.engine import TritonEngine
from service.engines.triton.shared_memory import FOLDER, PREFIX, SystemRegion
from service.errors import DeadlineExceeded, InvalidValue, UnknownModel
from tests.calls import Asking, own_regions, picture, served, ticket, until

pytestmark = [pytest.mark.tritonserver, pytest.mark.usefixtures("patient")]


@pytest.fixture(params=["bytes", "system"])
async def engine(server: Server, request: pytest.FixtureRequest) -> AsyncIterator[TritonEngine]:
    one = TritonEngine([server.url], request.param)
    await one.start()
    await until(lambda: one.broken == {}, 60)  # on a machine that is busy the first attempt may come to nothing
    yield one
    await one.close()


@pytest.fixture
async def embedded(server: Server) -> AsyncIterator[EmbeddedEngine]:
    one = EmbeddedEngine(server.repository)
    await one.start()
    yield one
    await one.close()


async def test_both_engines_give_the_same_answer(engine: TritonEngine, embedded: EmbeddedEngine) -> None:
    for rows, side in ((1, 32), (5, 16), (16, 64)):
        time_ = np.linspace(0, 999, 2 * rows, dtype=np.float32).reshape(rows, 2)
        given = (picture(rows, side), picture(rows, side, seed=1), time_, ticket(served(embedded)))
        [here], [there] = await embedded.predict(*given), await engine.predict(*given)
        np.testing.assert_allclose(there, here, atol=1e-5)


async def test_the_spec_is_read_back_from_the_server(engine: TritonEngine, embedded: EmbeddedEngine) -> None:
    assert engine.models().keys() == embedded.models().keys()
    for name, here in embedded.models().items():
        there = engine.models()[name]
        assert (there.spec, there.version, there.digest) == (here.spec, here.version, here.digest)
        assert there.golden.deviation(here.golden.answer) == 0


async def test_readiness_is_a_golden_inference(engine: TritonEngine) -> None:
    await engine.check("tiny")
    assert engine.broken == {}


async def test_shared_memory_is_used_where_it_can_be_and_freed_at_the_end(server: Server) -> None:
    engine = TritonEngine([server.url])
    await engine.start()
    for _ in range(3):
        await Asking(engine).tiny()
    [used] = own_regions()  # three calls, one after the other, need one region
    await engine.close()
    assert own_regions() == set()
    assert not (FOLDER / used).exists()
    async with InferenceServerClient(server.url) as client:
        assert not (await client.get_system_shared_memory_status()).regions


async def test_calls_at_the_same_time_do_not_mix_their_tensors(engine: TritonEngine, embedded: EmbeddedEngine) -> None:
    answers = await asyncio.gather(*(Asking(engine).tiny(seed=seed) for seed in range(12)))
    for seed, answer in enumerate(answers):
        np.testing.assert_allclose(answer, await Asking(embedded).tiny(seed=seed), atol=1e-5)


async def test_triton_batches_what_waits(engine: TritonEngine, server: Server) -> None:
    async def counts() -> tuple[int, int, set[int]]:
        async with InferenceServerClient(server.url) as client:
            [stats] = (await client.get_inference_statistics("slow")).model_stats
        return stats.inference_count, stats.execution_count, {batch.batch_size for batch in stats.batch_stats}

    inferences, executions, _ = await counts()
    await asyncio.gather(*(Asking(engine).slow(0.3) for _ in range(9)))
    async with asyncio.timeout(60):  # Triton counts a call a moment after it has answered it
        while (after := await counts())[0] - inferences < 9:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert after[1] - executions < 9
    assert max(after[2]) > 1


async def test_a_deadline_ends_the_call_here_and_there(engine: TritonEngine) -> None:
    start = time.monotonic()
    calls = [Asking(engine).slow(60, deadline=start + 0.3) for _ in range(4)]
    assert {type(answer) for answer in await asyncio.gather(*calls, return_exceptions=True)} == {DeadlineExceeded}
    await Asking(engine).slow(0.001, deadline=start + 40)  # an instance is free again, so the server has stopped computing
    assert engine.broken == {}, "a caller's deadline is not the server's fault"


async def test_a_cancelled_call_is_stopped_by_the_server(engine: TritonEngine) -> None:
    calls = [asyncio.create_task(Asking(engine).slow(60)) for _ in range(4)]
    await asyncio.sleep(0.3)
    for call in calls:
        call.cancel()
    async with asyncio.timeout(40):
        await Asking(engine).slow(0.001)
    assert all(call.cancelled() for call in calls)
    assert engine.broken == {}


async def test_what_the_graph_does_not_take_never_reaches_the_server(engine: TritonEngine) -> None:
    with pytest.raises(InvalidValue, match="multiples of 4"):
        await engine.predict(picture(side=30), picture(side=30), np.zeros((1, 2), np.float32), ticket(served(engine)))
    with pytest.raises(UnknownModel, match=r"'nope' is not loaded; expected one of \['slow', 'tiny'\]"):
        await Asking(engine).tiny(weights=served(engine, "nope"))
    with pytest.raises(UnknownModel, match="no model 'nope'"):
        await engine.load("nope")
    await Asking(engine).tiny()


async def test_two_gateways_share_a_server(server: Server) -> None:
    gateways = [TritonEngine([server.url], "system") for _ in range(2)]
    await asyncio.gather(*(one.start() for one in gateways))
    answers = await asyncio.gather(*(Asking(one).tiny(seed=seed) for seed in range(4) for one in gateways))
    for first, second in zip(answers[::2], answers[1::2], strict=True):
        np.testing.assert_array_equal(first, second)
    await gateways[0].close()
    await Asking(gateways[1]).tiny()  # the other's regions are its own
    await gateways[1].close()


async def test_what_a_killed_gateway_left_is_freed_by_the_next(server: Server) -> None:
    left = FOLDER / f"{PREFIX}left-by-a-test"
    left.write_bytes(b"x")
    engine = TritonEngine([server.url])
    await engine.start()
    assert not left.exists()
    await engine.close()


async def test_what_a_killed_gateway_registered_is_forgotten_by_the_server(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "QUARANTINE_SECONDS", 0.2)
    async with InferenceServerClient(server.url) as client:
        killed, living = SystemRegion(4096), SystemRegion(4096)
        for region in (killed, living):
            await region.register(client)
        killed.free()
        engine = TritonEngine([server.url])
        await engine.start()
        async with asyncio.timeout(60):
            while killed.name in (known := (await client.get_system_shared_memory_status()).regions):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        assert living.name in known
        await engine.close()
        await living.unregister(client)
        living.free()


async def test_a_name_stands_for_all_its_addresses(server: Server) -> None:
    engine = TritonEngine([f"localhost:{server.grpc}"])
    await engine.start()
    await Asking(engine).tiny()
    await engine.close()


def test_the_server_loads_the_very_folder_that_the_embedded_engine_reads(server: Server) -> None:
    assert {path.name for path in Path(server.repository).iterdir()} == {"slow", "tiny"}
