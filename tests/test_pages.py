"""The pages under docs/: every block that is marked `sh` runs as it stands, in order."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.service.conftest import settings_for
from tests.service.on_port import Live, live

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
SAMPLE = ROOT / "service" / "page" / "sample-lowlight.jpg"
ADDRESS = "http://127.0.0.1:8000"
PAGES = [("serve",), ("api",), ("batch",), ("train", "export", "measure")]  # those of one row in one folder


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


def prepare(folder: Path, page: str, text: str) -> None:
    """The files that a page's commands speak of."""
    small = Image.open(SAMPLE).resize((96, 64))
    small.save(folder / "dark.jpg")
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
    prepare(tmp_path, pages[0], text)
    commands = "\n".join(block for block in BLOCK.findall(text) if block.strip() != "rddm serve")
    script = commands.replace(ADDRESS, gateway.url)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {"PATH": path, "HOME": str(tmp_path), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], check=False, cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("path", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda path: path.name)
def test_links_lead_to_files(path: Path) -> None:
    missing = [link for link in LINK.findall(path.read_text("utf-8")) if not (path.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("path", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda path: path.name)
def test_no_line_is_over_120_characters(path: Path) -> None:
    if path.name == "must-survive.md":  # a table that a test writes
        return
    assert [line for line in path.read_text("utf-8").splitlines() if len(line) > 120 and not line.startswith("|")] == []
