"""The gateway as it really runs: uvicorn on a socket, in a thread of the test's process."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2

from service.api.front import Front
from service.api.server import Server
from service.gateway import open_gateway
from service.settings import Settings
from tests.service.serving import FakeServingEngine


class Live:
    """A server on a port of its own."""

    def __init__(self, settings: Settings, engine: FakeServingEngine) -> None:
        self.engine = engine
        self.app = Front(settings, lambda settings, metrics: open_gateway(settings, engine, metrics))
        self.server = Server(self.app, settings)
        self._thread = threading.Thread(target=lambda: asyncio.run(self.server.serve()), daemon=True)

    def start(self) -> None:
        self._thread.start()
        until = time.monotonic() + 60
        while not self.server.started:
            assert time.monotonic() < until, "the server did not start"
            time.sleep(0.01)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)

    def stop(self) -> None:
        self.client.close()
        self.server.should_exit = True
        self._thread.join(30)
        assert not self._thread.is_alive()

    def raw(self, *pieces: bytes, pause: float = 0.0, half_close: bool = False) -> bytes:
        """Send bytes as they are, with pauses between them, and read whatever comes until the end or for some seconds."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            try:
                for piece in pieces:
                    connection.sendall(piece)
                    time.sleep(pause)
                if half_close:
                    connection.shutdown(socket.SHUT_WR)
                return read_answer(connection)
            except (ConnectionError, TimeoutError):
                return b""

    def hang_up(self, *pieces: bytes, pause: float = 0.05, read: int = 0) -> None:
        """Send bytes, read so many of the answer, and be gone."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause)
            if read:
                assert connection.recv(read)

    def idle(self, seconds: float = 5.0) -> dict[str, Any]:
        """What is still held once everything should have been let go of."""
        gateway = self.app.state.gateway
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            held = {
                "pending": round(gateway.scheduler.pending, 9),
                "waiting": gateway.scheduler.waiting,
                "running": gateway.scheduler.running,
                "requests": gateway.drain.working,
            }
            if not any(held.values()):
                break
            time.sleep(0.01)
        return held


def read_answer(connection: socket.socket) -> bytes:
    """The head and the body of one answer."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return data
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
    while lengths and len(body) < int(lengths[0]):
        piece = connection.recv(65536)
        if not piece:
            break
        body += piece
    return head + b"\r\n\r\n" + body


def status_of(answer: bytes) -> int:
    """The status in an answer's first line, 0 without one."""
    words = answer.split(b" ", 2)
    return int(words[1]) if len(words) > 1 and words[0].startswith(b"HTTP/") else 0


@contextmanager
def live(settings: Settings, engine: FakeServingEngine | None = None) -> Iterator[Live]:
    server = Live(settings, engine or FakeServingEngine())
    server.start()
    try:
        yield server
    finally:
        server.stop()
