"""The pages under docs/: every block that is marked `sh` runs as it stands, in order."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service.pictures.formats import FORMATS
from tests.service.conftest import settings_for
from tests.service.on_port import Live, live

ROOT = Path(__file__).resolve().parent.parent
WRAPPED = [
    ROOT / name
    for name in (
        *("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "training/README.md"),
        *("benchmarks/README.md", "benchmarks/reproduce/README.md"),
    )
]
PAGE_FILES = sorted((ROOT / "docs").glob("*.md"))
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
SAMPLE = ROOT / "service" / "page" / "sample-lowlight.jpg"
ADDRESS = "http://127.0.0.1:8000"
PAGES = [  # those of one row in one folder
    ("serve",),
    ("api",),
    ("batch",),
    ("train", "export", "measure"),
    ("deploy",),
    ("kubernetes",),
    ("video",),
    ("gimp",),
    ("formats",),
    ("relatives",),
]
TOOLS = {"deploy": ["docker-compose"], "kubernetes": ["helm", "kubernetes-validate"], "video": ["curl"], "api": ["curl"]}
CLIPS = ("holiday.mp4", "dashcam.mp4", "party.mov", "window.mkv")
CHECKOUT = ("docker", "docker-compose.yml", "plugins")  # what commands in a checkout read


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(settings_for(tmp_path_factory.mktemp("pages"))) as running:
        yield running


def write_pairs(folder: Path, count: int) -> None:
    random = np.random.default_rng(0)
    for part, shift in (("target", 0), ("input", 60)):
        (folder / part).mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(60, 190, (80, 96, 3)) - shift
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / part / f"{number}.png")


def write_clip(path: Path) -> None:
    av = pytest.importorskip("av")
    frame = np.random.default_rng(0).integers(0, 120, (48, 64, 3), np.uint8)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for shift in range(3):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.roll(frame, shift, 1), "rgb24")))
        file.mux(stream.encode())


def prepare(folder: Path, page: str, text: str) -> None:
    """The files that a page's commands speak of."""
    small = Image.open(SAMPLE).resize((96, 64))
    small.save(folder / "dark.jpg")
    for name in CHECKOUT:
        (folder / name).symlink_to(ROOT / name)
    if page == "formats":
        small.save(folder / "scan.tif")
    if page == "video":
        for name in CLIPS:
            write_clip(folder / name)
    if page == "batch":
        (folder / "photos").mkdir()
        for name in ("one.jpg", "two.jpg"):
            small.save(folder / "photos" / name)
        (folder / "photos" / "notes.txt").write_text("no picture")
    if page == "train":
        write_pairs(folder / "pairs", 12)
        write_pairs(folder / "held-out", 2)
        [recipe] = re.findall(r"^```toml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        (folder / "mine.toml").write_text(recipe)


@pytest.mark.parametrize("pages", PAGES, ids="-".join)
@pytest.mark.timeout(600)
def test_the_commands_of_a_page_run(pages: tuple[str, ...], gateway: Live, tmp_path: Path) -> None:
    text = "\n".join((ROOT / "docs" / f"{page}.md").read_text("utf-8") for page in pages)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for tool in TOOLS.get(pages[0], []):
        if shutil.which(tool, path=path) is None:
            pytest.skip(f"{tool} is not installed (make test)")
    prepare(tmp_path, pages[0], text)
    blocks = [block for block in BLOCK.findall(text) if block.strip() != "rddm serve"]
    assert blocks
    script = "\n".join(blocks).replace(ADDRESS, gateway.url).replace("docker compose ", "docker-compose ")
    environment = {"PATH": path, "HOME": str(tmp_path), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], check=False, cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("path", [*WRAPPED, *PAGE_FILES], ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files(path: Path) -> None:
    missing = [link for link in LINK.findall(path.read_text("utf-8")) if not (path.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("path", [*WRAPPED, *PAGE_FILES], ids=lambda path: str(path.relative_to(ROOT)))
def test_no_line_is_over_120_characters(path: Path) -> None:
    if path.name == "must-survive.md":  # a table that a test writes
        return
    assert [line for line in path.read_text("utf-8").splitlines() if len(line) > 120 and not line.startswith("|")] == []


def test_the_formats_page_lists_what_is_written() -> None:
    text = (ROOT / "docs" / "formats.md").read_text("utf-8")
    rows = [
        [cell.strip() for cell in row.split("|")[1:4]] for row in text.partition("\n## ")[0].splitlines() if row.startswith("|")
    ]
    listed = {title: (int(bits), alpha) for title, bits, alpha in rows if bits.isdigit()}
    written = {one.title: (one.depth, "yes" if one.alpha else "no") for one in FORMATS.values()}
    assert listed == written
