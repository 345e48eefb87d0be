"""The gateway with a real tritonserver behind it, as processes: started in one command, and broken while it serves."""

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from docker.triton.server import NotInstallable, Server, environment, free_ports, install
from tests.models import release_tiny
from tests.servers import started

pytestmark = pytest.mark.tritonserver


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("behind")
    release_tiny(folder)
    return folder


@pytest.fixture(scope="module")
def server(repository: Path) -> Iterator[Server]:
    yield from started(repository)


class Gateway:
    """A gateway's process, and whatever it has beside it."""

    def __init__(self, root: Path, state: Path, *command: str) -> None:
        [port] = free_ports(1)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
        self.log = state / "gateway.log"
        self.seed = 0
        told = [sys.executable, "-m", *command, "--port", str(port), "--default-model", "tiny"]
        variables = {**os.environ, "RDDM_CODEC_WORKERS": "1", "XDG_STATE_HOME": str(state), "GRPC_ENABLE_FORK_SUPPORT": "0"}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(told, cwd=root, env=variables, stdout=log, stderr=log)

    def wait_until(self, status: int, seconds: float = 60) -> httpx.Response:
        """/readyz with this status. Fails with the gateway's log."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            try:
                answer = self.client.get("/readyz")
            except httpx.TransportError:
                time.sleep(0.2)
                continue
            if answer.status_code == status:
                return answer
            time.sleep(0.2)
        pytest.fail(f"/readyz is not {status}: {self.log.read_text()[-3000:]}")

    def restore(self) -> httpx.Response:
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
        told = gateway.wait_until(503)
        assert "tiny" in told.text
        assert gateway.client.get("/healthz").status_code == 200
        server.start()
        gateway.wait_until(200)
        assert gateway.restore().status_code == 200
        lost = [line for line in gateway.client.get("/metrics").text.splitlines() if line.startswith("rddm_engine_lost_steps")]
        assert float(lost[0].split()[-1]) >= 1
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
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://{url}")
