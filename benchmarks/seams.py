"""Whether anybody sees a seam: the same picture restored in tiles and whole, with the same noise."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.pictures import darkened, half_lit, scene, to_x_in
from rddm.image import decode, to_image
from rddm.tiling import Plan, plan
from service.engines.embedded.engine import EmbeddedEngine
from service.sampling.pipeline import Pipeline, Work

Image = NDArray[np.float32]
LINE = 2  # pixels beside a tile's border that count as the border
LEVELS = 255
SIDE = 2400  # of the drawn pictures, whose tiles overlap by little more than they must


@dataclass(frozen=True)
class Seam:
    """border: mean gradient at tile borders over that elsewhere, tiled relative to whole (1: no seam).

    overlap: likewise where tiles overlap. difference: the same ratio on tiled minus whole. step: the mean gradient of tiled minus
    whole at tile borders, in 8-bit levels. psnr: tiled against whole, dB.
    """

    picture: str
    height: int
    width: int
    border: float
    overlap: float
    difference: float
    step: float
    psnr: float


def gradients(image: Image) -> tuple[Image, Image]:
    """Absolute differences down (h-1 w) and across (h w-1), mean over channels."""
    return np.abs(np.diff(image[0], axis=1)).mean(0), np.abs(np.diff(image[0], axis=2)).mean(0)


def lines(starts: Iterable[int], tile: int, length: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which of the length-1 gaps between pixels lie at a tile's border, and which where tiles overlap."""
    begins = sorted(set(starts))
    border, overlap = np.zeros(length - 1, bool), np.zeros(length - 1, bool)
    for edge in {*begins[1:]} | {start + tile for start in begins[:-1]}:
        border[max(0, edge - 1 - LINE + 1) : edge + LINE - 1] = True
    for before, after in pairwise(begins):
        overlap[after : before + tile] = True
    return border, overlap


def ratio(image: Image, down: NDArray[np.bool_], across: NDArray[np.bool_]) -> float:
    """Mean gradient on the marked gaps over the mean on the others."""
    rows, columns = gradients(image)
    others = np.concatenate([rows[~down].ravel(), columns[:, ~across].ravel()])
    return marked_mean(image, down, across) / max(float(others.mean()), 1e-12)


def marked_mean(image: Image, down: NDArray[np.bool_], across: NDArray[np.bool_]) -> float:
    """Mean gradient on the marked gaps."""
    rows, columns = gradients(image)
    return float(np.concatenate([rows[down].ravel(), columns[:, across].ravel()]).mean())


def compare(name: str, tiled: Image, whole: Image, found: Plan) -> Seam:
    """Both results of one picture, b c h w."""
    height, width = tiled.shape[2:]
    tile = found.tiles[0]
    down = lines((t.top for t in found.tiles), tile.height, height)
    across = lines((t.left for t in found.tiles), tile.width, width)
    borders, overlaps = (ratio(tiled, down[k], across[k]) / ratio(whole, down[k], across[k]) for k in (0, 1))
    error = float(np.mean((tiled - whole) ** 2))
    psnr = float("inf") if error == 0 else 10 * float(np.log10(4 / error))
    difference = ratio(tiled - whole, down[0], across[0])
    step = LEVELS / 2 * marked_mean(tiled - whole, down[0], across[0])
    return Seam(name, height, width, borders, overlaps, difference, step, psnr)


async def restore_both(engine: EmbeddedEngine, model_name: str, x_in: Image, steps: int | None) -> tuple[Image, Image, Plan]:
    """The picture in tiles and whole."""
    model = engine.models()[model_name]
    whole = replace(model, spec=model.spec.model_copy(update={"most_pixels": 10**9}))
    pipeline = Pipeline(engine)
    results = []
    for each in (model, whole):
        work = Work(each, steps or model.spec.default_steps, 0, "seams", "seams", x_in)
        results.append((await pipeline.run(work)).x_0)
    pipeline.close()
    return results[0], results[1], plan(model.spec, *x_in.shape[2:])


def pictures(side: int, files: Iterable[Path]) -> Iterable[tuple[str, Image]]:
    """What is measured: drawn scenes at three exposures, a half-lit one, and files."""
    for stops in (0.0, 3.0, 6.0):
        yield f"scene, {stops:g} stops under", to_x_in(darkened(scene(side, side, 1), stops))
    yield "half lit", to_x_in(half_lit(side, side, 2))
    for file in files:
        yield file.stem, to_image(decode(file.read_bytes()))


async def measure(folder: Path, model: str, files: list[Path], steps: int | None = None) -> list[Seam]:
    """Every picture, with a model of the repository."""
    engine = EmbeddedEngine(folder)
    await engine.start()
    found = []
    for name, x_in in pictures(SIDE, files):
        tiled, whole, tiles = await restore_both(engine, model, x_in, steps)
        found.append(compare(name, tiled, whole, tiles))
    await engine.close()
    return found


def run(folder: Path, model: str, files: list[Path] | None = None) -> list[Seam]:
    """The same, from a program without an event loop."""
    return asyncio.run(measure(folder, model, files or []))
