"""The examples do what they say, as processes of their own against a gateway on a real port."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.service.conftest import file_of, pixels_of, settings_for
from tests.service.on_port import Live, live

FOLDER = Path(__file__).resolve().parent.parent / "examples"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    keys = f"anna {sha256(b'correct-horse').hexdigest()}\n"
    with live(settings_for(tmp_path_factory.mktemp("examples"), keys=keys)) as running:
        yield running


@pytest.fixture
def dark(tmp_path: Path) -> Path:
    (tmp_path / "it's dark.png").write_bytes(file_of(pixels_of(24, 40)))
    return tmp_path / "it's dark.png"


def run(folder: Path, *command: str | Path, key: str = "correct-horse", timeout: float = 120) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "RDDM_API_KEY": key, "OMP_NUM_THREADS": "1"}
    arguments = list(map(str, command))
    return subprocess.run(arguments, check=False, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout)


def needs(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    return path


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def brighter(before: Path, after: Path) -> bool:
    """Whether the fake network's half of the range was added, and nothing else done."""
    pixels = [np.asarray(Image.open(path).convert("RGB"), int) for path in (before, after)]
    return bool(np.abs(pixels[1] - pixels[0] - 64).max() <= 1)


def test_curl(gateway: Live, dark: Path, tmp_path: Path) -> None:
    needs("curl")
    done = run(tmp_path, "bash", FOLDER / "curl.sh", dark, gateway.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert brighter(dark, tmp_path / "restored.png")
    assert brighter(dark, tmp_path / "later.png")
    assert size_of(tmp_path / "residual.png") == (40, 24)
    assert size_of(tmp_path / "steps.png")[0] >= 4 * 40
    assert json.loads((tmp_path / "answer.json").read_text())["media_type"] == "image/webp"
    assert size_of(tmp_path / "generated.png") == (32, 32)
    assert size_of(tmp_path / "sheet.png")[0] > 64
    assert done.stdout.count("event: step") >= 3
    assert done.stdout.count("event: result") == 2
    assert "x-model: lowlight" in done.stdout.lower()
    assert '"status":422' in done.stdout.replace(" ", "")


def test_python_client(gateway: Live, dark: Path, tmp_path: Path) -> None:
    command = (sys.executable, FOLDER / "restore.py", dark, "light.png", "--server", gateway.url)
    done = run(tmp_path, *command, "--steps", "4")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("step ") >= 1
    assert "lowlight, 4 steps" in done.stdout
    assert brighter(dark, tmp_path / "light.png")
    refused = run(tmp_path, *command, "--steps", "999")
    assert refused.returncode == 1
    assert "999" in refused.stderr


def test_whole_folder(gateway: Live, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(6):
        (tmp_path / "photos" / f"{number}.png").write_bytes(file_of(pixels_of(16 + number, 24, seed=number)))
    (tmp_path / "photos" / "broken.png").write_bytes(b"no picture")
    (tmp_path / "photos" / "more.png").mkdir()
    (tmp_path / "restored" / "0.png").mkdir(parents=True)
    done = run(tmp_path, sys.executable, FOLDER / "folder.py", "photos", "restored", "--server", gateway.url)
    assert done.returncode == 1
    assert "5 of 7 pictures" in done.stdout
    assert [line.partition(": ")[0] for line in sorted(done.stderr.splitlines())] == ["photos/0.png", "photos/broken.png"]
    assert all(brighter(tmp_path / "photos" / f"{k}.png", tmp_path / "restored" / f"{k}.png") for k in range(1, 6))


def test_javascript(gateway: Live, dark: Path, tmp_path: Path) -> None:
    node = needs("node")
    done = run(tmp_path, node, FOLDER / "restore.mjs", dark, "light.png", gateway.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert "lowlight, 2 steps, 40 x 24" in done.stdout
    assert brighter(dark, tmp_path / "light.png")
    locked = run(tmp_path, node, FOLDER / "restore.mjs", dark, "light.png", gateway.url, key="wrong")
    assert locked.returncode == 1
    assert "(401)" in locked.stderr


NOWHERE = "http://127.0.0.1:9"


@pytest.mark.parametrize("program", ["restore.py", "restore.mjs"])
@pytest.mark.parametrize(
    ("picture", "out", "address", "words"),
    [
        ("nothing.png", "light.png", None, "nothing.png"),
        ("dark.png", "nowhere/light.png", None, "nowhere/light.png"),
        ("dark.png", "light.png", "gateway:8000", "gateway:8000"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    gateway: Live, tmp_path: Path, program: str, picture: str, out: str, address: str | None, words: str
) -> None:
    (tmp_path / "dark.png").write_bytes(file_of(pixels_of(24, 40)))
    server = address or gateway.url
    runner = [sys.executable] if program.endswith("py") else [needs("node")]
    option = ["--server", server] if program.endswith("py") else [server]
    done = run(tmp_path, *runner, FOLDER / program, picture, out, *option)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    if program.endswith("py"):
        assert words in done.stderr


def test_javascript_says_that_nobody_is_there(tmp_path: Path) -> None:
    (tmp_path / "dark.png").write_bytes(file_of(pixels_of(24, 40)))
    done = run(tmp_path, needs("node"), FOLDER / "restore.mjs", "dark.png", "light.png", NOWHERE)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)


def test_javascript_says_that_an_answer_broke_off(tmp_path: Path) -> None:
    class Short(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b": hello\n\n")

        def log_message(self, *_: object) -> None:
            pass

    (tmp_path / "dark.png").write_bytes(file_of(pixels_of(24, 40)))
    with ThreadingHTTPServer(("127.0.0.1", 0), Short) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        done = run(tmp_path, needs("node"), FOLDER / "restore.mjs", "dark.png", "light.png", address)
        server.shutdown()
    assert done.returncode == 1
    assert done.stderr == "The answer broke off before the result.\n"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("script", "shipped"), [("still_life.py", "sample-lowlight.jpg"), ("garden.py", "sample-derain.jpg")])
def test_the_pages_samples_are_what_these_scripts_render(tmp_path: Path, script: str, shipped: str) -> None:
    """Rendered again, each is the committed file up to a JPEG's rounding."""
    done = run(tmp_path, sys.executable, FOLDER / script, "again.jpg", timeout=800)
    assert (done.returncode, done.stderr) == (0, "")
    paths = (FOLDER.parent / "service" / "page" / shipped, tmp_path / "again.jpg")
    pixels = [np.asarray(Image.open(path), int) for path in paths]
    assert np.abs(pixels[0] - pixels[1]).mean() < 0.5
