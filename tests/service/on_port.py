"""A gateway on a real port, in a thread of its own: for browsers, other processes, and clients that block."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from service.api.front import Front
from service.api.server import Server
from service.gateway import Gateway, open_gateway
from service.settings import Settings
from tests.service.serving import FakeServingEngine

PATIENCE = 120.0  # the models that ship are measured at the start, on a machine that may have other things to do


@dataclass(frozen=True)
class Live:
    """Where it listens, and what stands behind it."""

    url: str
    app: Any
    engine: FakeServingEngine

    @property
    def state(self) -> Gateway:
        return self.app.state.gateway

    def until_idle(self) -> bool:
        """Whether nothing is in work any more, within a few seconds."""
        end = time.monotonic() + 10
        while self.state.drain.working and time.monotonic() < end:
            time.sleep(0.02)
        return self.state.drain.working == 0


@contextmanager
def live(settings: Settings, *, embedded: bool = False) -> Iterator[Live]:
    """The app on a free port of the loopback address, until the block ends; embedded: with the models that ship, not the fake."""
    fake = FakeServingEngine()
    engine = None if embedded else fake
    settings = settings.model_copy(update={"port": 0})
    app = Front(settings, lambda settings, metrics: open_gateway(settings, engine, metrics))
    server = Server(app, settings)
    thread = threading.Thread(target=server.run, name="gateway")
    thread.start()
    try:
        yield Live(f"http://127.0.0.1:{port_of(server, thread)}", app, fake)
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        assert not thread.is_alive()


def port_of(server: Server, thread: threading.Thread) -> int:
    """The port that the system chose, once the server listens."""
    end = time.monotonic() + PATIENCE
    while not server.started:
        assert thread.is_alive(), "the gateway did not start"
        assert time.monotonic() < end, "the gateway took too long to start"
        time.sleep(0.02)
    return int(server.servers[0].sockets[0].getsockname()[1])
