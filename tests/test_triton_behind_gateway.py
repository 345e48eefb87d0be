"""The gateway with a real tritonserver behind it, as processes: started in one command, and broken while it serves."""

import base64
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import numpy as np
import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from PIL import Image

from docker.triton.server import NotInstallable, Server, environment, install
from tests.models import release_tiny
from tests.servers import started

pytestmark = pytest.mark.tritonserver


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("behind")
    release_tiny(folder)
    return folder


class Collector:
    """Where a server sends its traces: OpenTelemetry's protocol over HTTP, of which the bodies are kept."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        bodies = self.bodies

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Nothing is printed."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/v1/traces"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    one = Collector()
    yield one
    one.server.shutdown()
    one.server.server_close()


@pytest.fixture(scope="module")
def server(repository: Path, collector: Collector) -> Iterator[Server]:
    settings = (
        "mode=opentelemetry",
        "rate=1",
        "level=TIMESTAMPS",
        f"opentelemetry,url={collector.url}",
        "opentelemetry,bsp_schedule_delay=100",
    )
    yield from started(repository, *(f"--trace-config={setting}" for setting in settings))


ANSWERS_AT = re.compile(r"RDDM Serve answers at (http://\S+)")


class Gateway:
    """A gateway's process, and whatever it has beside it."""

    def __init__(self, root: Path, state: Path, *command: str) -> None:
        self.client = httpx2.Client(timeout=30)  # its address once the gateway has named it
        self.log = state / "gateway.log"
        self.seed = 0
        run = [sys.executable, "-m", *command, "--port", "0", "--default-model", "tiny"]
        variables = {**os.environ, "RDDM_CODEC_WORKERS": "1", "XDG_STATE_HOME": str(state), "GRPC_ENABLE_FORK_SUPPORT": "0"}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(run, cwd=root, env=variables, stdout=log, stderr=log)

    def wait_until(self, status: int, seconds: float = 60) -> httpx2.Response:
        """/readyz with this status. Fails with the gateway's log."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            if not self.client.base_url.host and (named := ANSWERS_AT.search(self.log.read_text())):
                self.client.base_url = named[1]
            try:
                answer = self.client.get("/readyz")
            except (httpx2.TransportError, httpx2.UnsupportedProtocol):  # not up yet, or its address is not known
                time.sleep(0.2)
                continue
            if answer.status_code == status:
                return answer
            time.sleep(0.2)
        pytest.fail(f"/readyz is not {status}: {self.log.read_text()[-3000:]}")

    def restore(self) -> httpx2.Response:
        """A picture through POST /restore."""
        pixels = np.random.default_rng(0).integers(0, 255, (40, 56, 3), dtype=np.uint8)
        png = io.BytesIO()
        Image.fromarray(pixels).save(png, "PNG")
        # a seed of its own each time, so that no answer is one that was kept
        self.seed += 1
        return self.client.post(
            "/restore", params={"seed": self.seed}, content=png.getvalue(), headers={"Content-Type": "image/png"}
        )

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.client.close()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def test_the_gateway_tells_what_is_wrong_and_heals(root: Path, tmp_path: Path, server: Server) -> None:
    gateway = Gateway(root, tmp_path, "rddm", "serve", "--engine", "triton", "--triton-urls", server.url)
    try:
        gateway.wait_until(200)
        assert gateway.restore().status_code == 200
        server.kill()
        refused = gateway.restore()
        assert (refused.status_code, refused.headers["content-type"]) == (503, "application/problem+json")
        assert int(refused.headers["retry-after"]) >= 1
        assert server.url not in refused.text
        refusal = gateway.wait_until(503)
        assert "tiny" in refusal.text
        assert gateway.client.get("/healthz").status_code == 200
        server.start()
        gateway.wait_until(200)
        assert gateway.restore().status_code == 200
        lost = [line for line in gateway.client.get("/metrics").text.splitlines() if line.startswith("rddm_engine_lost_steps")]
        assert float(lost[0].split()[-1]) >= 1
    finally:
        assert gateway.stop() == 0


def spans_of(bodies: list[bytes], trace: str) -> dict[str, dict[str, str]]:
    """By name the spans of a trace, as the parent's id by their own; the gateway's exporter sends protobuf, the server's JSON."""
    spans: dict[str, dict[str, str]] = {}
    for body in bodies:
        export = ExportTraceServiceRequest()
        if body.startswith(b"{"):
            resources = json.loads(body)["resourceSpans"]
        else:
            export.ParseFromString(body)
            resources = MessageToDict(export)["resourceSpans"]
        for span in [span for resource in resources for scope in resource["scopeSpans"] for span in scope["spans"]]:
            ids = [span.get(name, "") for name in ("traceId", "spanId", "parentSpanId")]
            if not body.startswith(b"{"):
                ids = [base64.b64decode(one).hex() for one in ids]
            if ids[0] == trace:
                spans.setdefault(span["name"], {})[ids[1]] = ids[2]
    return spans


def is_whole(spans: dict[str, dict[str, str]], above: dict[str, str]) -> bool:
    """Whether each span of these names lies below one of that name, or below that id. A step that was tried again has two."""
    return all(parent in spans.get(upper, {upper: ""}) for name, upper in above.items() for parent in spans[name].values())


@pytest.mark.parametrize("exported", [True, False])
def test_a_callers_trace_goes_on_to_the_server(
    root: Path, tmp_path: Path, server: Server, collector: Collector, exported: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the gateway's own spans between, where they are exported; else as it came."""
    if exported:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.removesuffix("/v1/traces"))
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    gateway = Gateway(root, tmp_path, "rddm", "serve", "--engine", "triton", "--triton-urls", server.url)
    try:
        gateway.wait_until(200)
        trace, span = uuid.uuid4().hex, "b7ad6b7169203331"
        gateway.client.headers["traceparent"] = f"00-{trace}-{span}-01"
        assert gateway.restore().status_code == 200
        wanted = {"InferRequest", *(["rddm.batch", "rddm.step", "POST /restore"] if exported else [])}
        above = {"InferRequest": "rddm.batch" if exported else span, **({"POST /restore": span} if exported else {})}
        end, spans = time.monotonic() + 30, {}
        while not (wanted <= spans.keys() and is_whole(spans, above)) and time.monotonic() < end:
            time.sleep(0.1)
            spans = spans_of(collector.bodies, trace)
        assert wanted <= spans.keys()
        assert is_whole(spans, above), spans
        assert exported or "rddm.batch" not in spans
    finally:
        assert gateway.stop() == 0


def test_one_command_starts_both_and_ends_both(root: Path, tmp_path: Path, repository: Path) -> None:
    try:
        install(environment())
    except NotInstallable as missing:
        pytest.skip(f"tritonserver cannot be installed: {missing}")
    gateway = Gateway(root, tmp_path, "docker.triton.run", "--model-repository", str(repository))
    try:
        gateway.wait_until(200)
        assert gateway.restore().headers["x-model"] == "tiny"
    finally:
        gateway.stop()
    said = gateway.log.read_text()
    url = said.split("answers gRPC on ")[1].split(";")[0]
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"http://{url}")
