"""One call of each model by each engine of this process, on one thread, in turns: milliseconds, ratios and agreement.

python -m benchmarks.engines [-o FILE] [--rounds N] [MODEL ...]
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine
from rddm.model import golden_input
from rddm.tiling import usual_size
from service.engines.contract import Feeds, Outputs
from service.engines.embedded.sessions import OnnxRuntime
from service.engines.local import Runtime
from service.engines.openvino.runtime import OpenVinoRuntime
from service.engines.registry import cache_folder
from service.engines.repository import find_newest, names_in
from service.errors import EngineUnavailable
from service.settings import shipped_repository

PEAK = 2.0  # of pictures in [-1, 1]


def main() -> None:
    """Prints and keeps the comparison."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engines", description=__doc__)
    parser.add_argument("models", nargs="*", help="(all)")
    parser.add_argument("-o", "--output", type=Path, help="a JSON file for the figures")
    parser.add_argument("--rounds", type=int, default=8, help="calls of each engine, in turns (8)")
    options = parser.parse_args()
    folder = shipped_repository()
    report = {name: compare(folder, name, options.rounds) for name in options.models or names_in(folder)}
    text = json.dumps({"machine": machine(), "models": report}, indent=1)
    print(text)
    if options.output is not None:
        options.output.write_text(f"{text}\n", encoding="utf-8")


def runtimes() -> dict[str, Runtime]:
    """Those that this machine can run."""
    cache = cache_folder() / "openvino"
    available: dict[str, Runtime] = {"onnxruntime": OnnxRuntime(), "openvino f32": OpenVinoRuntime(cache)}
    try:
        available["openvino bf16"] = OpenVinoRuntime(cache, "bf16")
    except EngineUnavailable as error:
        print(error.detail)
    return available


def compare(folder: Path, name: str, rounds: int) -> dict[str, Any]:
    """Of one model at the size of its usual call: median milliseconds, their ratio to ONNX Runtime's, and the answers' PSNR."""
    file = find_newest(folder, name)
    spec = file.model.spec
    feeds = golden_input(spec, usual_size(spec)[0])
    data = file.read()
    networks = {engine: runtime.open(data, file.model, 1) for engine, runtime in runtimes().items()}
    calls = {engine: lambda feeds, network=network: network.run(feeds, Future()) for engine, network in networks.items()}
    answers = {engine: call(feeds)[0] for engine, call in calls.items()}
    seconds = timed(calls, feeds, rounds)
    base = float(np.median(seconds["onnxruntime"]))
    return {
        engine: {
            "milliseconds": round(1000 * float(np.median(taken)), 2),
            "ratio": round(float(np.median(taken)) / base, 3),
            "difference": float(np.abs(answers[engine] - answers["onnxruntime"]).max()),
            "psnr": psnr(answers[engine], answers["onnxruntime"]),
        }
        for engine, taken in seconds.items()
    }


def timed(calls: Mapping[str, Callable[[Feeds], Outputs]], feeds: Feeds, rounds: int) -> dict[str, list[float]]:
    """Seconds of each call, in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call(feeds)
            seconds[name].append(time.perf_counter() - start)
    return seconds


def psnr(answer: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> float | None:
    """Decibels over the range of two; None for equal answers."""
    error = float(((answer - expected) ** 2).mean())
    return round(10 * float(np.log10(PEAK**2 / error)), 1) if error else None


if __name__ == "__main__":
    main()
