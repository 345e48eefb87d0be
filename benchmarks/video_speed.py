"""Clips: frames a second beside the bare loop, wall time beside FFmpeg and a folder of pictures, memory of a long clip.

    python -m benchmarks.video_speed loop      the same clip by the service and by a bare loop, in turns
    python -m benchmarks.video_speed folder --old-rddm PATH [--ffmpeg PATH]
                                               `rddm restore clip` and FFmpeg -> PNG -> `rddm restore FOLDER` -> FFmpeg, in turns
    python -m benchmarks.video_speed memory    peak memory of a clip of ten minutes and of one of ten seconds

The bare loop decodes with PyAV, samples with an ONNX Runtime session of all cores, and encodes with PyAV and the service's own
settings, one after the other, without calming anything. Each part writes its figures into the report, and leaves the others there.
"""

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks.loop import CORES, Loop
from benchmarks.machine import peak_memory
from benchmarks.video import BOUNDS, frames_of
from rddm.image import to_image, to_pixels
from service.keys import RequestContext
from service.restoration.opening import open_service
from service.restoration.service import RestorationService
from service.settings import Settings
from service.video.facts import ENCODERS
from service.video.parameters import ClipParameters, Steadying
from service.video.service import ClipService

Frames = Sequence[NDArray[np.uint8]]
SIZES = {"640x360": (640, 360, 72), "1280x720": (1280, 720, 18)}  # width, height, frames
WARM_UP = 3  # frames
LONG, SHORT = 600, 10  # seconds
SLOW_RATE = 5  # frames a second of these clips
SMALL = (128, 72)
LOOK_SECONDS = 0.05  # between two looks at a process's memory
TASK, STEPS = "derain", 1
RESULT = Path("benchmarks/results/video-speed.json")


def write_clip(path: Path, frames: Frames, rate: int) -> None:
    """H.264 as the service writes it."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=rate, options={**ENCODERS["h264"].options, "crf": "18", "bf": "0"})
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        stream.codec_context.thread_count = 1
        for pixels in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode())


def sized(source: Frames, width: int, height: int, count: int) -> Frames:
    """So many frames of another size: the clip forwards and backwards, again and again."""
    there_and_back = [*source, *reversed(source)]
    return [
        np.asarray(cv2.resize(there_and_back[k % len(there_and_back)], (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
        for k in range(count)
    ]


def run_bare(loop: Loop, source: Path, target: Path) -> float:
    """Seconds of the bare loop."""
    started = time.perf_counter()
    with av.open(str(source)) as file:
        restored = (
            to_pixels(loop.sample(to_image(frame.to_ndarray(format="rgb24")), STEPS, [0])) for frame in file.decode(video=0)
        )
        write_clip(target, list(restored), 24)
    return time.perf_counter() - started


async def run_service(service: RestorationService, source: Path, target: Path, steady: Steadying) -> float:
    """Seconds of the whole way, with the start of its two processes."""
    context = RequestContext("benchmark", "benchmark", time.monotonic())
    parameters = ClipParameters(task=TASK, steps=STEPS, steady=steady)
    started = time.perf_counter()
    await ClipService(service).restore(source, target, target.with_suffix(".work"), parameters, context, bounds=BOUNDS)
    return time.perf_counter() - started


async def beside_the_loop(folder: Path, source: Frames, rounds: int) -> dict[str, Any]:
    """For each size: frames a second of the loop, and of the service with and without steadying, medians of the rounds in turns."""
    loop = Loop(Settings().model_repository, TASK, CORES)
    figures: dict[str, Any] = {}
    async with open_service(Settings(results_bytes=0)) as service:
        for name, (width, height, count) in SIZES.items():
            clip, warm_up, out = (folder / f"{part}.mp4" for part in (name, "warm-up", "out"))
            write_clip(clip, sized(source, width, height, count), 24)
            write_clip(warm_up, sized(source, width, height, WARM_UP), 24)
            ways: dict[str, list[float]] = {"loop": [], "off": [], "motion": []}
            for turn in range(rounds + 1):
                at = clip if turn else warm_up
                seconds = {
                    "loop": await asyncio.to_thread(run_bare, loop, at, out),
                    "off": await run_service(service, at, out, "off"),
                    "motion": await run_service(service, at, out, "motion"),
                }
                for way in ways if turn else ():
                    ways[way].append(seconds[way])
            rates = {way: count / statistics.median(values) for way, values in ways.items()}
            ratios = {way: _ratio(ways["loop"], ways[way]) for way in ("off", "motion")}
            figures[name] = {"frames": count, "frames_a_second": rates, "over_the_loop": ratios, "seconds": ways}
            print(name, json.dumps(figures[name]), flush=True)
    return figures


def _ratio(base: Sequence[float], other: Sequence[float]) -> float:
    """Median of the rounds' own ratios of speed."""
    return statistics.median(a / b for a, b in zip(base, other, strict=True))


def timed(*commands: Sequence[str | Path | int]) -> float:
    """Seconds of commands, one after the other."""
    started = time.perf_counter()
    for command in commands:
        subprocess.run([str(word) for word in command], check=True, capture_output=True)
    return time.perf_counter() - started


def beside_a_folder(folder: Path, source: Frames, rounds: int, ffmpeg: str, old: str) -> dict[str, Any]:
    """Wall seconds of both ways from clip to clip, each with its start, in turns; a folder's pictures are not calmed either."""
    width, height, count = SIZES["640x360"]
    clip, pictures, results, joined = (folder / name for name in ("clip.mp4", "pictures", "results", "joined.mp4"))
    write_clip(clip, sized(source, width, height, count), 24)
    ours: dict[str, list[float]] = {"off": [], "motion": []}
    theirs: list[float] = []
    asked = ["--task", TASK, "--steps", STEPS]
    for _ in range(rounds):
        for way, seconds in ours.items():
            restored = folder / f"{way}.mp4"
            seconds.append(timed([sys.executable, "-m", "rddm", "restore", clip, "-o", restored, *asked, "--steady", way]))
        for place in (pictures, results):
            subprocess.run(["rm", "-rf", place], check=True)
            place.mkdir()
        theirs.append(
            timed(
                [ffmpeg, "-y", "-i", clip, pictures / "%05d.png"],
                [old, "restore", pictures, "-o", f"{results}/", *asked],
                [ffmpeg, "-framerate", "24", "-i", results / "%05d.png", "-crf", "18", "-pix_fmt", "yuv420p", "-y", joined],
            )
        )
    ratios = {way: _ratio(seconds, theirs) for way, seconds in ours.items()}
    figures = {"frames": count, "clip": ours, "folder": theirs, "wall_over_folder": ratios}
    print(json.dumps(figures), flush=True)
    return figures


def peaks(folder: Path, source: Frames) -> dict[str, Any]:
    """Peak memory of the command and of the largest of its processes, MiB, for a short and a long clip."""
    figures: dict[str, Any] = {"frames_a_second": SLOW_RATE, "size": list(SMALL)}
    for name, seconds in (("short", SHORT), ("long", LONG)):
        clip = folder / f"{name}.mp4"
        write_clip(clip, sized(source, *SMALL, seconds * SLOW_RATE), SLOW_RATE)
        command = [sys.executable, "-m", "rddm", "restore", str(clip), "-o", str(folder / f"{name}-out.mp4"), "--task", TASK]
        own, largest = peak_of(command)
        figures[name] = {"seconds": seconds, "command_mib": round(own, 1), "largest_process_mib": round(largest, 1)}
    for part in ("command_mib", "largest_process_mib"):
        figures[f"long_over_short_{part[:-4]}"] = round(figures["long"][part] / figures["short"][part], 3)
    print(json.dumps(figures), flush=True)
    return figures


def peak_of(command: Sequence[str]) -> tuple[float, float]:
    """The most memory of a command, and of the largest of the processes that it starts, MiB.

    Read while it runs: nothing tells it afterwards.
    """
    own = largest = 0.0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        family = psutil.Process(process.pid)
        while process.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess, OSError):
                own = max(own, peak_memory(process.pid))
                largest = max(largest, *(peak_memory(child.pid) for child in family.children()), 0.0)
            time.sleep(LOOK_SECONDS)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return own, largest


def note(path: Path, part: str, figures: dict[str, Any]) -> None:
    """Puts one part into the report."""
    report = json.loads(path.read_text("utf-8")) if path.exists() else {}
    facts = {"when": time.strftime("%Y-%m-%d"), "cores": CORES, "load": [round(value, 1) for value in os.getloadavg()]}
    path.write_text(json.dumps(report | {part: facts | figures}, indent=1) + "\n", "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the speed and memory of clips.")
    parser.add_argument("part", choices=["loop", "folder", "memory"])
    parser.add_argument("--clip", type=Path, default=Path("examples/clips/rain.mp4"), help="whose frames are taken, in other sizes")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--ffmpeg", default="ffmpeg")
    parser.add_argument("--old-rddm", help="the rddm command of an earlier version")
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args()
    if given.part == "folder" and given.old_rddm is None:
        parser.error("folder needs --old-rddm")
    source = frames_of(given.clip)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        parts: dict[str, Callable[[], dict[str, Any]]] = {
            "loop": lambda: asyncio.run(beside_the_loop(folder, source, given.rounds)),
            "folder": lambda: beside_a_folder(folder, source, given.rounds, given.ffmpeg, given.old_rddm),
            "memory": lambda: peaks(folder, source),
        }
        note(given.out, given.part, parts[given.part]())


if __name__ == "__main__":
    main()
