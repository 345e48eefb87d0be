"""Does steadying make clips calm, and at what cost? On clips with truth: PSNR, and flicker against frame-by-frame restoration.

    python -m benchmarks.video [--clips examples/clips] [--frames FOLDER] [--out benchmarks/results/video.md]

Each degraded clip (NAME.mp4 beside truth.mp4) goes through the whole way of `rddm restore`, once frame by frame (steady off) and
once steadied, losslessly, so that nothing but the restoration is measured. The clean frames (PNG, by name) of a folder are degraded
by the synthesisers of training first. Flicker: the mean absolute difference of successive frames, the earlier one warped along the
optical flow of the truth, where that flow agrees with itself backwards, in levels of 255; given over that of frame-by-frame
restoration and of the truth. Its error part is the same of (result - truth), which no motion of the scene and no interpolation adds
to. --strips: twelve successive frames of each result, as it came above, restored below, for eyes.
"""

import argparse
import asyncio
import functools
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.keys import RequestContext
from service.restoration.opening import open_service
from service.restoration.service import RestorationService
from service.settings import Settings
from service.video.facts import ClipBounds
from service.video.parameters import ClipParameters, Steadying
from service.video.reader import ClipReader
from service.video.service import ClipService

Floats = NDArray[np.float32]
Frames = list[NDArray[np.uint8]]
TASKS = {"rain": "derain", "drops": "raindrop", "dark": "lowlight"}
BOUNDS = ClipBounds(4096 * 4096, 8192, 10_000, 10_000)
SEED = 3  # of what degrades the frames of a folder; 1, 2, 4, 5, 7 and 10 were looked at when the constants were chosen
STRIP = 12  # frames
EDGE = 2  # pixels at the border that no warp reaches


@dataclass(frozen=True)
class Motion:
    """From a frame to the one before it: where each pixel was (h w 2), and where that is sure (h w)."""

    places: Floats
    sure: NDArray[np.bool_]


@dataclass(frozen=True)
class Row:
    """One clip, restored one way. seconds: of the whole way, with the start of two processes."""

    name: str
    way: str
    psnr: float
    flicker: float
    error: float
    seconds: float


def frames_of(path: Path) -> list[NDArray[np.uint8]]:
    """Every frame, h w 3."""
    with ClipReader(path, BOUNDS) as reader:
        return [frame.pixels for frame in reader.frames()]


def motions(truth: Sequence[NDArray[np.uint8]]) -> list[Motion]:
    """The truth's optical flow (DIS, medium), checked against the flow the other way."""
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in truth]
    return [_motion(flow, before, now) for before, now in pairwise(grey)]


def _motion(flow: cv2.DISOpticalFlow, before: NDArray[np.uint8], now: NDArray[np.uint8]) -> Motion:
    height, width = now.shape
    there, back = flow.calc(now, before, None), flow.calc(before, now, None)
    rows, columns = np.indices(now.shape, np.float32)
    places = np.stack([columns + there[..., 0], rows + there[..., 1]], -1)
    returned = there + cv2.remap(back, places[..., 0], places[..., 1], cv2.INTER_LINEAR)
    inside = (places >= EDGE).all(-1) & (places[..., 0] < width - EDGE) & (places[..., 1] < height - EDGE)
    return Motion(places, inside & (np.linalg.norm(returned, axis=2) < 0.5))


def flicker(frames: Sequence[NDArray[np.floating]], along: Sequence[Motion]) -> float:
    """Mean absolute difference of successive frames along the motion, in levels."""
    changes = []
    for before, now, motion in zip(frames, frames[1:], along, strict=False):
        moved = cv2.remap(before, motion.places[..., 0], motion.places[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        changes.append(float(np.abs(now - moved)[motion.sure].mean()))
    return float(np.mean(changes))


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """In dB, over all channels."""
    return float(10 * np.log10(255**2 / max(1e-9, float(np.mean((a.astype(np.float64) - b) ** 2)))))


def row_of(
    name: str,
    way: str,
    frames: Sequence[NDArray[np.uint8]],
    truth: Sequence[NDArray[np.uint8]],
    along: Sequence[Motion],
    spent: float,
) -> Row:
    """What is measured of one result."""
    floats = [frame.astype(np.float32) for frame in frames]
    errors = [a - b.astype(np.float32) for a, b in zip(floats, truth, strict=True)]
    quality = float(np.mean([psnr(a, b) for a, b in zip(frames, truth, strict=True)]))
    return Row(name, way, quality, flicker(floats, along), flicker(errors, along), spent)


async def restored(
    service: RestorationService, source: Path, task: str, steady: Steadying, folder: Path
) -> tuple[list[NDArray[np.uint8]], float]:
    """The frames of the clip after the whole way, and its seconds."""
    target = folder / f"{source.stem}-{steady}.mkv"
    context = RequestContext("benchmark", "benchmark", time.monotonic())
    started = time.perf_counter()
    parameters = ClipParameters(task=task, steady=steady, codec="ffv1")
    await ClipService(service).restore(source, target, folder / "work", parameters, context, bounds=BOUNDS)
    return frames_of(target), time.perf_counter() - started


@dataclass(frozen=True, eq=False)
class Scene:
    """A clip without fault, and its degraded versions as files."""

    name: str
    truth: list[NDArray[np.uint8]]
    degraded: dict[str, Path]

    @functools.cached_property
    def along(self) -> list[Motion]:
        """The truth's motion."""
        return motions(self.truth)


def rendered(folder: Path, kinds: Sequence[str]) -> Scene:
    """The clips of a folder: truth.mp4, and one for each kind."""
    return Scene("garden", frames_of(folder / "truth.mp4"), {kind: folder / f"{kind}.mp4" for kind in kinds})


def synthesised(folder: Path, kinds: Sequence[str], work: Path) -> Scene:
    """The pictures of a folder, degraded by the synthesisers into lossless clips in `work`."""
    from benchmarks.degraded_clips import degraded  # noqa: PLC0415 - torch, for these only

    truth = [np.asarray(Image.open(path).convert("RGB")) for path in sorted(folder.glob("*.png"))]
    if not truth:
        raise SystemExit(f"{folder} holds no *.png; expected a clip's frames, named in their order")
    files = {kind: work / f"{kind}.mkv" for kind in kinds}
    for kind, path in files.items():
        write_lossless(path, degraded(truth, kind, SEED))
    return Scene("frames", truth, files)


def write_lossless(path: Path, frames: Sequence[NDArray[np.uint8]]) -> None:
    """FFV1 in RGB, 24 frames a second."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("ffv1", rate=24)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "bgr0"
        for pixels in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="bgr0")))
        file.mux(stream.encode())


def strip(before: Sequence[NDArray[np.uint8]], after: Sequence[NDArray[np.uint8]]) -> Image.Image:
    """Successive frames from the middle, as they came and restored."""
    start = max(0, (len(before) - STRIP) // 2)
    rows = [np.concatenate(list(frames[start : start + STRIP]), 1) for frames in (before, after)]
    return Image.fromarray(np.concatenate(rows, 0))


async def measure(scenes: Sequence[Scene], keep: Callable[[str, Frames, Frames], None]) -> list[Row]:
    """Every clip as it came, frame by frame, and steadied. keep: called with each steadied one: name, as it came, restored."""
    rows = []
    async with open_service(Settings(results_bytes=0)) as service:
        for scene in scenes:
            rows.append(row_of(scene.name, "truth", scene.truth, scene.truth, scene.along, 0.0))
            for kind, path in scene.degraded.items():
                name, came = f"{scene.name} {kind}", frames_of(path)
                rows.append(row_of(name, "as it came", came, scene.truth, scene.along, 0.0))
                for steady in ("off", "motion"):
                    with tempfile.TemporaryDirectory() as folder:
                        frames, spent = await restored(service, path, TASKS[kind], steady, Path(folder))
                    rows.append(row_of(name, f"steady {steady}", frames, scene.truth, scene.along, spent))
                    print(rows[-1], flush=True)
                keep(name, came, frames)
    return rows


def stillness(rows: Sequence[Row], owns: Mapping[str, float]) -> list[str]:
    """Where half of frame by frame's flicker, which is aimed at, would be less than the scene's own."""
    shares = {row.name: row.flicker / 2 / owns[row.name.partition(" ")[0]] for row in rows if row.way == "steady off"}
    stiller = ", ".join(f"{name} ({share:.2f})" for name, share in shares.items() if share < 1)
    return (
        [f"Half of frame by frame's flicker is less than the scene's own, of which it is a share, in: {stiller}."]
        if stiller
        else []
    )


def report(rows: Sequence[Row]) -> str:
    """The rows as a page."""
    owns = {row.name: row.flicker for row in rows if row.way == "truth"}
    lines = [
        "# Clips: quality and flicker",
        "",
        f"`python -m benchmarks.video`, {time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.0f}. "
        f"The truth's own flicker, in levels of 255: {', '.join(f'{name} {own:.3f}' for name, own in owns.items())}.",
        "garden: the clips of `examples/clips`. frames: a clip of photographs, degraded by the synthesisers of training.",
        "The constants of the steadying were chosen on the frames with other rain, drops and noise (seeds 1, 2, 4, 5, 7 and 10), a "
        "street and a photograph, in part on the garden; the rain, drops and noise of this report (seed 3) chose nothing.",
        *stillness(rows, owns),
        "",
        "| clip | way | PSNR | flicker | of frame by frame | of the truth | flicker of the error | of frame by frame |",
        "|---|---|---|---|---|---|---|---|",
    ]
    plain = {row.name: row for row in rows if row.way == "steady off"}
    for row in (row for row in rows if row.way != "truth"):
        base, own = plain[row.name], owns[row.name.partition(" ")[0]]
        lines.append(
            f"| {row.name} | {row.way} | {row.psnr:.2f} dB | {row.flicker:.3f} | {row.flicker / base.flicker:.2f} | "
            f"{row.flicker / own:.2f} | {row.error:.3f} | {row.error / base.error:.2f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what steadying does to clips with truth.")
    parser.add_argument("--clips", type=Path, default=Path("examples/clips"), help="folder with truth.mp4 and degraded clips")
    parser.add_argument("--frames", type=Path, help="folder of clean frames, to be degraded (extra `train`)")
    parser.add_argument("--names", nargs="+", default=list(TASKS), choices=list(TASKS), help="which of them")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/video.md"), help="the report")
    parser.add_argument("--strips", type=Path, metavar="FOLDER", help="write twelve frames of each result there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scenes = [rendered(arguments.clips, arguments.names)]
        if arguments.frames is not None:
            scenes.append(synthesised(arguments.frames, arguments.names, Path(folder)))

        def keep(name: str, came: Frames, frames: Frames) -> None:
            if arguments.strips is not None:
                arguments.strips.mkdir(parents=True, exist_ok=True)
                strip(came, frames).save(arguments.strips / f"{name.replace(' ', '-')}.webp", quality=88)

        arguments.out.write_text(report(asyncio.run(measure(scenes, keep))), "utf-8")


if __name__ == "__main__":
    main()
