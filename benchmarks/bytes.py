"""Whether the models that ship answer the bytes that an earlier commit answered, and where they do not, by how much.

    python -m benchmarks.bytes OLD [--python PYTHON] [--sides 64x64,192x256] [-o benchmarks/results/bytes.json]

OLD is a checkout of the earlier commit. For every model that it ships, pictures of sizes that are multiples of 16 are restored with
seed 3 (or made, by a model that generates) three times, as PNG, by a gateway in a process of its own: by the old code with the old
model files; by this code with the old files (`code`); and by this code with its own files (`files`: a re-export or new weights
change them). Each is compared with the first: equal, or the share of values that differ and the largest difference in levels.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from benchmarks.machine import machine

Pixels = NDArray[np.uint8]
SIDES = ((64, 64), (192, 256), (640, 640), (1088, 1088))  # height and width; the last one is over a mebipixel: tiles
SEED = 3


def picture(height: int, width: int) -> Pixels:
    """A drawn scene with edges, gradients and a little noise."""
    rng = np.random.default_rng(height * width)
    image = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y = rng.integers(0, width), rng.integers(0, height)
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        draw.rectangle((x, y, x + width // 6, y + height // 8), fill=colour)
    soft = np.asarray(image.filter(ImageFilter.GaussianBlur(1)), np.float32)
    return np.clip(soft + rng.normal(0, 3, soft.shape), 0, 255).astype(np.uint8)


def png(pixels: Pixels) -> bytes:
    """Its file."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


async def answers(repository: Path, models: Sequence[str], sides: Sequence[tuple[int, int]], folder: Path) -> None:
    """A file MODEL-HxW.png of each answer; the code is that which this process imports."""
    app_module = import_module("service.api.app" if find_spec("service.api") else "service.app")
    settings = import_module("service.settings").Settings(model_repository=repository, jobs_file=folder / "jobs")
    app = app_module.create_app(settings)
    transport = httpx2.ASGITransport(app, client=("127.0.0.1", 50000))
    client = httpx2.AsyncClient(transport=transport, base_url="http://localhost", timeout=600)
    async with app.router.lifespan_context(app), client:
        for model in models:
            for side in sides:
                height, width = side
                given: dict[str, Any] = {"params": {"task": model, "seed": SEED, "format": "png"}}
                given["files"] = {"image": ("picture.png", png(picture(height, width)), "image/png")}
                response = await client.post("/restore", **given)
                if response.status_code == 404:  # it generates, always in one size
                    response = await client.post("/generate", params={"model": model, "seed": SEED, "format": "png"})
                    height, width = Image.open(BytesIO(response.content)).size[::-1]
                response.raise_for_status()
                (folder / f"{model}-{height}x{width}.png").write_bytes(response.content)


def models_of(repository: Path) -> list[str]:
    """The models that lie in a repository."""
    return [path.parent.name for path in sorted(repository.glob("*/config.pbtxt"))]


def answered(root: Path, python: str, repository: Path, models: Sequence[str], sides: str) -> dict[str, Pixels]:
    """The answers of a checkout's code with a repository's files, by name."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"PYTHONPATH": str(root), "OTEL_SDK_DISABLED": "true", "RDDM_LEARN": "0"}
        words = [python, str(Path(__file__).resolve()), "--here", folder, "--sides", sides, str(repository), *models]
        subprocess.run(words, cwd=root, env=environment, check=True)
        return {path.stem: np.asarray(Image.open(path).convert("RGB")) for path in sorted(Path(folder).glob("*.png"))}


def difference(before: Pixels, now: Pixels) -> dict[str, Any]:
    """Whether two answers are equal; else the share of values that differ and the largest difference in levels."""
    if before.shape != now.shape:
        return {"equal": False, "shapes": [before.shape, now.shape]}
    away = np.abs(before.astype(int) - now)
    return {"equal": not away.any(), "share": round(float((away > 0).mean()), 5), "levels": int(away.max())}


def compare(old: Path, python: str, sides: str) -> dict[str, dict[str, Any]]:
    """By answer: what this code and this code's files change."""
    here = Path(__file__).resolve().parent.parent
    models = models_of(old / "model_repository")
    before = answered(old, python, old / "model_repository", models, sides)
    code = answered(here, sys.executable, old / "model_repository", models, sides)
    files = answered(here, sys.executable, here / "model_repository", models, sides)
    return {name: {"code": difference(before[name], code[name]), "files": difference(before[name], files[name])} for name in before}


def words_of(change: dict[str, Any]) -> str:
    """A difference in words."""
    if change["equal"]:
        return "equal"
    return f"{change['share']:.3%} of values, up to {change['levels']} levels" if "share" in change else str(change["shapes"])


def pairs(text: str) -> list[tuple[int, int]]:
    """64x64,192x256 -> heights and widths. Raises ArgumentTypeError."""
    try:
        sides = [tuple(int(side) for side in pair.split("x")) for pair in text.split(",")]
    except ValueError as wrong:
        raise argparse.ArgumentTypeError(f"{text!r}: expected HEIGHTxWIDTH between commas") from wrong
    if any(len(pair) != 2 or min(pair) < 16 or any(side % 16 for side in pair) for pair in sides):
        raise argparse.ArgumentTypeError(f"{text!r}: expected multiples of 16")
    return [(height, width) for height, width in sides]


def main(argv: list[str] | None = None) -> int:
    """Compare, print a line for each answer, and write the report."""
    p = argparse.ArgumentParser(prog="python -m benchmarks.bytes", description=(__doc__ or "").splitlines()[0])
    p.add_argument("old", type=Path, metavar="OLD", help="a checkout of the earlier commit")
    p.add_argument("--python", default=sys.executable, help="that has the old checkout's dependencies (this one)")
    p.add_argument("--sides", type=pairs, default=list(SIDES), metavar="HxW,...", help="of the pictures: multiples of 16")
    p.add_argument("-o", "--output", type=Path, help="a JSON file")
    p.add_argument("models", nargs="*", help=argparse.SUPPRESS)
    p.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    given = p.parse_args(argv)
    if given.here:
        asyncio.run(answers(given.old, given.models, given.sides, given.here))
        return 0
    report = compare(given.old.resolve(), given.python, ",".join(f"{height}x{width}" for height, width in given.sides))
    for name, changes in report.items():
        print(f"{name}: this code {words_of(changes['code'])}; its own files {words_of(changes['files'])}")
    if given.output:
        given.output.write_text(json.dumps({"machine": machine()} | report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
