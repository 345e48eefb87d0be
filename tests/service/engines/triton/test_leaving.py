"""A server whose address is gone: no new calls, but those that it has are answered or asked of another."""

import asyncio

import numpy as np
import pytest

from service.engines.contract import Ticket
from service.engines.triton import engine as triton
from service.engines.triton.server import RemoteServer
from service.engines.triton.shared_memory import RegionPool
from service.errors import EngineUnavailable
from tests.calls import picture
from tests.service.fakes import model_of


class Held:
    """A transport whose calls end when they are let; closing the connection ends them as gRPC does."""

    kind = "bytes"

    def __init__(self) -> None:
        self.call: asyncio.Future[tuple] = asyncio.get_running_loop().create_future()
        self.closed = False

    async def exchange(self, _call, feeds, _outputs, _model):
        await asyncio.shield(self.call)
        return (feeds["x_t"],)

    async def close(self) -> None:
        self.closed = True
        self.call.cancel()


@pytest.fixture
async def server() -> RemoteServer:
    one = RemoteServer("127.0.0.1:1", None, 60.0)
    one._transport = Held()
    return one


def asked(server: RemoteServer) -> asyncio.Task:
    feeds = {"x_t": picture(), "condition": np.zeros((1, 6, 32, 32), np.float32), "time": np.zeros((1, 2), np.float32)}
    model = model_of()
    return asyncio.create_task(server.predict(model, feeds, Ticket(model.weights, "r", "c")))


async def test_a_server_that_leaves_answers_first(server: RemoteServer) -> None:
    call = asked(server)
    await asyncio.sleep(0)
    leaving = asyncio.create_task(triton._let_go(server))
    await asyncio.sleep(0.01)
    assert not server._transport.closed
    server._transport.call.set_result(())
    await leaving
    assert server._transport.closed
    assert np.array_equal((await call)[0], picture())


async def test_a_server_that_does_not_answer_is_left_and_its_calls_can_be_asked_of_another(
    server: RemoteServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triton, "LEAVING_SECONDS", 0.01)
    call = asked(server)
    await asyncio.sleep(0)
    await triton._let_go(server)
    with pytest.raises(EngineUnavailable, match="the connection for model 'fake' was closed"):
        await call


async def test_a_caller_that_leaves_is_still_cancelled(server: RemoteServer) -> None:
    call = asked(server)
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


def test_a_region_may_be_retired_after_its_pool_was_closed() -> None:
    pool = RegionPool()
    region = pool.take(64)
    pool.close()
    pool.retire(region)
    assert not region.path.exists()
