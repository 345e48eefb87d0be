"""The process: uvicorn around the gateway. On SIGTERM what runs is finished and new work is answered 503; a second one ends it.

The address is bound before anything is opened: one that is taken is known at once, and port 0 gets its number.
"""

import asyncio
import gc
import logging
import signal
import socket
import sys
import time
from collections.abc import Callable
from types import FrameType

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from service.api.front import Front
from service.api.middleware import HEAD_BYTES
from service.gateway import Gateway
from service.settings import Settings

log = logging.getLogger("rddm.server")
KEEP_ALIVE_SECONDS = 30
LAST_SECONDS = 5  # for answers that are on their way when everything is done
LINGER_SECONDS = 2.0  # for clients that are refused while they still send


def bind(host: str, port: int) -> list[socket.socket]:
    """A socket for each address of the host name, all on one port; 0 is a free one. They do not listen yet.

    Raises OSError with the address for one that is taken, or that is none of this machine.
    """
    sockets: list[socket.socket] = []
    try:
        for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE):
            sockets.append(one := socket.socket(family))
            if sys.platform != "win32":  # there it would let two programs share the port
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind((address[0], port, *address[2:]))
            port = port or one.getsockname()[1]
    except OSError as error:
        for one in sockets:
            one.close()
        raise OSError(f"{host}:{port} cannot be listened on: {error.strerror}") from error
    return sockets


def leave_out_tracebacks(app: Front, foreseen: tuple[type[Exception], ...]) -> None:
    """uvicorn logs none of a start that fails for a foreseen reason, which whoever starts it says in words."""

    def is_wanted(record: logging.LogRecord) -> bool:
        return not (isinstance(getattr(app.state, "failure", None), foreseen) and record.getMessage().startswith("Traceback"))

    logging.getLogger("uvicorn.error").addFilter(is_wanted)


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

    def __init__(self, app: Front, settings: Settings, on_ready: Callable[[], None] = lambda: None) -> None:
        """on_ready: called once it listens."""
        self._app = app
        self._on_ready = on_ready
        self._drain_seconds = settings.drain_seconds
        self._drained_by: float | None = None
        self._warming: asyncio.Task[None] | None = None
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                log_config=None,
                access_log=False,
                server_header=False,
                http=HttpProtocol,
                loop="asyncio",  # the one that is tested, whatever else is installed
                ws="none",
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
            self._on_ready()
            self._warming = asyncio.create_task(self._warm())

    async def _warm(self) -> None:
        try:
            await self._app.warm()
        except Exception as error:  # a module that cannot be imported: nothing would ever be answered
            log.error("the API could not be made ready: %s", type(error).__name__, exc_info=error)
            self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """uvicorn's shutdown, without what still warms up."""
        if self._warming is not None:
            self._warming.cancel()
            await asyncio.gather(self._warming, return_exceptions=True)
        await super().shutdown(sockets)

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
