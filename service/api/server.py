"""The process: uvicorn around the gateway. On SIGTERM what runs is finished and new work is answered 503; a second one ends it."""

import gc
import signal
import socket
import time
from types import FrameType

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from service.api.middleware import HEAD_BYTES
from service.gateway import Gateway
from service.settings import Settings

KEEP_ALIVE_SECONDS = 30
LAST_SECONDS = 5  # for answers that are on their way when everything is done
LINGER_SECONDS = 2.0  # for who is refused while he still sends


class HttpProtocol(H11Protocol):
    """uvicorn's, but a head that is refused is read to its end, for a while: a connection closed on a sender loses the answer."""

    _refused = False

    def send_400_response(self, msg: str) -> None:
        """Answer, say that nothing follows, and close a little later."""
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
        response = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
        for event in (response, h11.Data(data=msg.encode("ascii")), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self._refused = True
        self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def data_received(self, data: bytes) -> None:
        """What a refused sender still sends is dropped."""
        if not self._refused:
            super().data_received(data)


class Server(uvicorn.Server):
    """Drains before it stops listening."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        self._app = app
        self._drain_seconds = settings.drain_seconds
        self._drained_by: float | None = None
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                log_config=None,
                access_log=False,
                server_header=False,
                http=HttpProtocol,
                h11_max_incomplete_event_size=HEAD_BYTES,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=LAST_SECONDS,
            )
        )

    @property
    def _gateway(self) -> Gateway | None:
        return getattr(self._app.state, "gateway", None)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """uvicorn's startup, and a line for whoever sits before the terminal."""
        await super().startup(sockets)
        gc.freeze()  # what is there now stays: no collection need look at it, nor any request wait for that
        if self.started and self._gateway is not None:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            models = ", ".join(sorted(self._gateway.repository.models())) or "none yet"
            print(f"RDDM Serve answers at http://{f'[{host}]' if ':' in host else host}:{port}/  models: {models}", flush=True)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A first SIGTERM drains; SIGINT, or any second signal, ends what is left."""
        if sig == signal.SIGTERM and self._gateway is not None and self._drained_by is None:
            self._gateway.drain.closing = True
            self._drained_by = time.monotonic() + self._drain_seconds
        else:
            super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """uvicorn's tick, ten times a second: leave when nothing is in work any more."""
        if self._drained_by is not None and self._gateway is not None:
            self.should_exit |= self._gateway.drain.working == 0 or time.monotonic() > self._drained_by
        return await super().on_tick(counter)
