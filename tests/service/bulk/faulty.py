"""A proxy in front of an S3 server that answers some requests as a store does that is busy, slow, broken or full."""

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

HOP = {"transfer-encoding", "connection", "content-length"}


@dataclass
class Fault:
    """What becomes of the first `times` requests that `applies` to: (method, path) -> bool.

    status: answered without asking the server. cut: half of the body, though its whole length was announced. seconds: late.
    """

    applies: Callable[[str, str], bool]
    times: int
    status: int | None = None
    code: str = "SlowDown"
    cut: bool = False
    seconds: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def takes(self, method: str, path: str) -> bool:
        """Whether this request is one of them."""
        with self.lock:
            if self.times <= 0 or not self.applies(method, path):
                return False
            self.times -= 1
            return True


class Proxy(ThreadingHTTPServer):
    """On a port of its own on the loopback interface."""

    daemon_threads = True

    def __init__(self, server: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behind = urlsplit(server)
        self.faults: list[Fault] = []
        self.seen: list[tuple[str, str]] = []

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """Passes a request on, with what the faults make of it."""

    protocol_version = "HTTP/1.1"
    server: Proxy

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.seen.append((self.command, self.path))
        fault = next((one for one in self.server.faults if one.takes(self.command, self.path)), None)
        if fault is not None:
            time.sleep(fault.seconds)
        if fault is not None and fault.status is not None:
            answer = f"<Error><Code>{fault.code}</Code><Message>a fault</Message></Error>".encode()
            return self._answer(fault.status, [("Content-Type", "application/xml")], answer, len(answer))
        host, port = self.server.behind.hostname, self.server.behind.port
        behind = http.client.HTTPConnection(str(host), port, timeout=30)
        behind.request(self.command, self.path, body, dict(self.headers))
        got = behind.getresponse()
        data = got.read()
        length = int(got.headers.get("content-length", len(data)))
        headers = [(name, value) for name, value in got.getheaders() if name.lower() not in HOP]
        sent = data[: len(data) // 2] if fault is not None and fault.cut else data
        self._answer(got.status, headers, sent, length)
        if sent is not data:
            self.close_connection = True
            self.connection.close()
        return None

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes, length: int) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _pass  # noqa: N815 (names of http.server)

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


@contextmanager
def proxied(server: str) -> Iterator[Proxy]:
    """A proxy in front of the server, for as long as the block lasts."""
    proxy = Proxy(server)
    thread = threading.Thread(target=proxy.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()
