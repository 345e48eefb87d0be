"""A network of one pass, imported and served, beside the bare call of ONNX Runtime on its own file.

    python -m benchmarks.one_pass [-o benchmarks/results/one-pass.json]

The network has the shape of colour FFDNet (pixels unshuffled by 2, a map of the noise level beside, 12 convolutions of 96 channels,
shuffled back) and random weights. It goes through `rddm import --one-pass` and `rddm export`, and the embedded engine serves it
through the pipeline that every request takes. Compared: CPU milliseconds of a picture (all threads of the process, so that other
work on the machine counts little), in turn with the bare call; the 8-bit pixels whole; and tiled against whole, by the measure of
benchmarks.seams.
"""

import argparse
import asyncio
import contextlib
import io
import json
import os
import tempfile
import time
import warnings
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.machine import machine
from benchmarks.pictures import scene, to_x_in
from benchmarks.seams import compare, restore_both
from export.command import main as export
from rddm.image import to_pixels
from service.engines.embedded.engine import EmbeddedEngine
from service.engines.local import Threads
from service.sampling.pipeline import Pipeline
from service.sampling.work import Work
from training.importing.command import main as import_network

NAME, SIGMA, SIDE, LARGE, ROUNDS = "ffdnet", 0.1, 256, 640, 9
Image = NDArray[np.float32]


class FFDNet(nn.Module):
    """x (b 3 h w in 0..1; h, w even) and sigma (b 1 1 1) -> the picture; its last layer is small: it leaves most as it is."""

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        channels = [13, *[width] * (layers - 1), 12]
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(channels))
        nn.init.normal_(self.convolutions[-1].weight, std=0.005)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        below = functional.pixel_unshuffle(x, 2)
        hidden = torch.cat([below, sigma.expand(-1, 1, below.shape[2], below.shape[3])], 1)
        for convolution in self.convolutions[:-1]:
            hidden = functional.relu(convolution(hidden))
        return functional.pixel_shuffle(below + self.convolutions[-1](hidden), 2)


def write_network(path: Path, layers: int = 12, width: int = 96) -> None:
    """FFDNet with random weights, as an ONNX file of any size and batch."""
    torch.manual_seed(0)
    example = (torch.rand(2, 3, 16, 24), torch.full((2, 1, 1, 1), SIGMA))
    free = {"x": {0: "n", 2: "h", 3: "w"}, "sigma": {0: "n"}, "y": {0: "n", 2: "h", 3: "w"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's own deprecation
        network = FFDNet(layers, width).eval()
        names = {"input_names": ["x", "sigma"], "output_names": ["y"]}
        torch.onnx.export(network, example, path, dynamo=False, dynamic_axes=free, opset_version=17, **names)  # type: ignore[arg-type]


def publish(network: Path, folder: Path) -> None:
    """Import and export, as a user does. Raises RuntimeError where either refuses."""
    options = [
        "--one-pass",
        "--task",
        "denoise",
        "--name",
        NAME,
        "--constant",
        f"sigma={SIGMA}",
        "--range",
        "0..1",
        "--answer",
        "image",
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        refused = import_network([str(network), *options, "-o", str(folder / "run")])
        refused = refused or export([str(folder / "run"), "-o", str(folder / "models")])
    if refused:
        raise RuntimeError(f"{network} was not published")


def bare(network: Path) -> Callable[[Image], Image]:
    """The network's own file under ONNX Runtime, one thread: x_in (1 3 h w in [-1, 1]) -> its answer in [-1, 1]."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(network), options, ["CPUExecutionProvider"])
    sigma = np.full((1, 1, 1, 1), SIGMA, np.float32)

    def call(x_in: Image) -> Image:
        answer: Image = session.run(None, {"x": x_in * np.float32(0.5) + np.float32(0.5), "sigma": sigma})[0]
        return answer * np.float32(2) - np.float32(1)

    return call


async def cpu_ms(call: Callable[[], Awaitable[Any]]) -> float:
    """CPU milliseconds of the process while the call runs."""
    started = time.process_time()
    await call()
    return 1000 * (time.process_time() - started)


async def measured(network: Path, models: Path, side: int, large: int, rounds: int) -> dict[str, Any]:
    """Times, the largest difference of 8-bit pixels whole, and the seams of a large picture."""
    engine, call = EmbeddedEngine(models, Threads(1)), bare(network)
    await engine.start()
    pipeline, model = Pipeline(engine), engine.models()[NAME]
    x_in = to_x_in(scene(side, side, 1))

    async def serve() -> Image:
        x_0: Image = (await pipeline.run(Work(model, 1, 0, "one-pass", "one-pass", x_in))).x_0
        return x_0

    async def ask() -> Image:
        return call(x_in)

    levels = np.abs(to_pixels(await serve()).astype(int) - to_pixels(await ask()).astype(int))
    pairs = [(await cpu_ms(serve), await cpu_ms(ask)) for _ in range(rounds)]
    tiled, whole, plan = await restore_both(engine, NAME, to_x_in(scene(large, large, 2)), None)
    pipeline.close()
    await engine.close()
    return {
        "side": side,
        "served_ms": round(median(served for served, _ in pairs), 2),
        "bare_ms": round(median(alone for _, alone in pairs), 2),
        "ratio": round(median(served / alone for served, alone in pairs), 3),
        "pixels_that_differ_whole": int((levels > 0).sum()),
        "seam": asdict(compare("scene", tiled, whole, plan)),
        "levels_tiled_against_whole": int(np.abs(to_pixels(tiled).astype(int) - to_pixels(whole).astype(int)).max()),
        "load": round(os.getloadavg()[0], 1),
    }


def run(side: int = SIDE, large: int = LARGE, rounds: int = ROUNDS, layers: int = 12, width: int = 96) -> dict[str, Any]:
    """All of it, from a network's file to figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        network = folder / "net.onnx"
        write_network(network, layers, width)
        publish(network, folder)
        return asyncio.run(measured(network, folder / "models", side, large, rounds))


def main(argv: list[str] | None = None) -> int:
    """Measure, print, and write the report."""
    p = argparse.ArgumentParser(prog="python -m benchmarks.one_pass", description=(__doc__ or "").splitlines()[0])
    p.add_argument("-o", "--output", type=Path, help="a JSON file for the figures")
    p.add_argument("--rounds", type=int, default=ROUNDS, help="pairs of calls (default: %(default)s)")
    given = p.parse_args(argv)
    text = json.dumps({"machine": machine()} | run(rounds=given.rounds), indent=1)
    print(text)
    if given.output:
        given.output.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
