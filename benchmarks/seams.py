"""Whether anybody sees a seam: the same picture restored in tiles and whole, with the same noise.

python -m benchmarks.seams -o FILE [--pictures PHOTOGRAPH ...] [MODEL ...]

so compares, beside the whole picture, this build's tiles and those of e52b7ca, on squares that the earlier tiles cover with the
least overlap that they must have: a half-lit scene, a dark one, and photographs.
"""

import argparse
import asyncio
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import machine
from benchmarks.pictures import darkened, half_lit, scene, to_x_in
from rddm.image import decode, to_image
from rddm.tiling import Plan, plan
from service.engines.contract import Model
from service.engines.embedded.engine import EmbeddedEngine
from service.sampling.pipeline import Pipeline
from service.sampling.work import Work
from service.settings import shipped_repository

Image = NDArray[np.float32]
LINE = 2  # pixels beside a tile's border that count as the border
NEAR = 32  # pixels beside a border line that it is compared with: an eye finds a seam in what differs from what lies next to it
LEVELS = 255
SIDE = 2400  # of the drawn pictures, whose tiles overlap by little more than they must
EARLIER = {"lowlight": (352, 112), "derain": (384, 144), "raindrop": (384, 144)}  # side of a tile, overlap, at e52b7ca
EARLIER_TILES = 6  # along a side of a square for both


@dataclass(frozen=True)
class Seam:
    """border: mean gradient at tile borders over that elsewhere, tiled relative to whole (1: no seam).

    overlap: that ratio where tiles overlap. step: the mean gradient of tiled minus whole at tile borders, in 8-bit levels: what
    could be seen. beside: step over that gradient within NEAR pixels of a border (1: the border has nothing that is not around it).
    difference: step over that gradient elsewhere. It tells where tiled and whole differ, not how much: it grows where the borders
    stay as they are and less differs elsewhere. worst: the largest mean of any one row or column, wherever it lies, in levels.
    psnr: tiled against whole, dB.
    """

    picture: str
    height: int
    width: int
    border: float
    overlap: float
    difference: float
    beside: float
    step: float
    worst: float
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


def near(border: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which gaps lie within NEAR pixels of a border and are none."""
    around = np.convolve(border, np.ones(2 * NEAR + 1), "same") > 0
    return around & ~border


def worst_line(image: Image) -> float:
    """The largest mean gradient of a row or a column of gaps."""
    rows, columns = gradients(image)
    return max(float(rows.mean(1).max()), float(columns.mean(0).max()))


def ratio(image: Image, down: NDArray[np.bool_], across: NDArray[np.bool_]) -> float:
    """Mean gradient on the marked gaps over the mean on the others."""
    rows, columns = gradients(image)
    others = np.concatenate([rows[~down].ravel(), columns[:, ~across].ravel()])
    return marked_mean(image, down, across) / max(float(others.mean()), 1e-12)


def marked_mean(image: Image, down: NDArray[np.bool_], across: NDArray[np.bool_]) -> float:
    """Mean gradient on the marked gaps."""
    rows, columns = gradients(image)
    return float(np.concatenate([rows[down].ravel(), columns[:, across].ravel()]).mean())


def compare(name: str, tiled: Image, whole: Image, tiling: Plan) -> Seam:
    """Both results of one picture, b c h w."""
    height, width = tiled.shape[2:]
    tile = tiling.tiles[0]
    down = lines((t.top for t in tiling.tiles), tile.height, height)
    across = lines((t.left for t in tiling.tiles), tile.width, width)
    borders, overlaps = (ratio(tiled, down[k], across[k]) / ratio(whole, down[k], across[k]) for k in (0, 1))
    error = float(np.mean((tiled - whole) ** 2))
    psnr = float("inf") if error == 0 else 10 * float(np.log10(4 / error))
    apart = tiled - whole
    difference, at_border = ratio(apart, down[0], across[0]), marked_mean(apart, down[0], across[0])
    beside = at_border / max(marked_mean(apart, near(down[0]), near(across[0])), 1e-12)
    step, worst = LEVELS / 2 * at_border, LEVELS / 2 * worst_line(apart)
    return Seam(name, height, width, borders, overlaps, difference, beside, step, worst, psnr)


async def restored(engine: EmbeddedEngine, model: Model, x_in: Image, steps: int | None = None) -> Image:
    """x_0 of the picture."""
    pipeline = Pipeline(engine)
    try:
        work = Work(model, steps or model.spec.default_steps, 0, "seams", "seams", x_in)
        return (await pipeline.run(work)).x_0
    finally:
        pipeline.close()


def cut_otherwise(model: Model, **facts: object) -> Model:
    """The model with other tiles."""
    return replace(model, spec=model.spec.model_copy(update=facts))


def untiled(model: Model) -> Model:
    """The model, with every picture one call."""
    return cut_otherwise(model, most_pixels=10**9)


async def restore_both(engine: EmbeddedEngine, model_name: str, x_in: Image, steps: int | None) -> tuple[Image, Image, Plan]:
    """The picture in tiles and whole."""
    model = engine.models()[model_name]
    tiled, whole = [await restored(engine, each, x_in, steps) for each in (model, untiled(model))]
    return tiled, whole, plan(model.spec, *x_in.shape[2:])


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
    results = []
    for name, x_in in pictures(SIDE, files):
        tiled, whole, tiles = await restore_both(engine, model, x_in, steps)
        results.append(compare(name, tiled, whole, tiles))
    await engine.close()
    return results


def run(folder: Path, model: str, files: list[Path] | None = None) -> list[Seam]:
    """The same, from a program without an event loop."""
    return asyncio.run(measure(folder, model, files or []))


async def measure_both(folder: Path, names: Iterable[str], photographs: list[Path]) -> dict[str, dict[str, list[Seam]]]:
    """By model: the seams of each picture, with the tiles of e52b7ca and with this build's."""
    engine = EmbeddedEngine(folder)
    engine.restrict(lambda _: list(names))
    await engine.start()
    seams: dict[str, dict[str, list[Seam]]] = {}
    for name in names:
        model, (tile, overlap) = engine.models()[name], EARLIER[name]
        builds = {"before": cut_otherwise(model, sizes=((tile, tile),), reach=overlap), "now": model}
        seams[name] = {build: [] for build in builds}
        for picture, x_in in squares(name, EARLIER_TILES * tile - (EARLIER_TILES - 1) * overlap, photographs):
            whole = await restored(engine, untiled(model), x_in)
            for build, each in builds.items():
                tiles = plan(each.spec, *x_in.shape[2:])
                seams[name][build].append(compare(picture, await restored(engine, each, x_in), whole, tiles))
    await engine.close()
    return seams


def squares(name: str, side: int, photographs: Iterable[Path]) -> Iterable[tuple[str, Image]]:
    """Pictures of this side; photographs are mirrored to it, and darkened for a model that brightens."""
    yield "half lit", to_x_in(half_lit(side, side, 2))
    for file in photographs:
        photograph = decode(file.read_bytes())[:side, :side]
        down, across = side - photograph.shape[0], side - photograph.shape[1]
        square = to_image(np.pad(photograph, ((0, down), (0, across), (0, 0)), mode="symmetric"))
        yield file.stem, (square + 1) / 3 - 1 if name == "lowlight" else square
    yield "dark", to_x_in(darkened(scene(side, side, 1), 6.0))


def main() -> None:
    """Prints and keeps what `measure_both` gives."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.seams", description=__doc__)
    parser.add_argument("models", nargs="*", default=list(EARLIER), help=f"({', '.join(EARLIER)})")
    parser.add_argument("--pictures", type=Path, nargs="*", default=[], metavar="PHOTOGRAPH")
    parser.add_argument("-o", "--output", type=Path, required=True, help="a JSON file for the figures")
    options = parser.parse_args()
    seams = asyncio.run(measure_both(shipped_repository(), options.models, options.pictures))
    models = {name: {build: [asdict(seam) for seam in of] for build, of in builds.items()} for name, builds in seams.items()}
    options.output.write_text(json.dumps({"machine": machine(), "models": models}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
