"""One network call of this build beside another one's: the same picture, noise and step, on one thread, in turns.

python -m benchmarks.one_call --against CHECKOUT [--side N] [--rounds N] [-o FILE] [MODEL]

What depends on the picture alone, and is computed once a picture, is no part of a call; what it takes is said beside it.
"""

import argparse
import json
import statistics
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from benchmarks.machine import machine
from benchmarks.pictures import darkened, scene, to_x_in
from benchmarks.sizes import Call, session
from rddm.condition import concatenated, parts_of, picture_noise
from rddm.graph import FILE, SPEC_KEY, Feeds, to_feeds
from rddm.spec import ModelSpec
from service.settings import shipped_repository

TIME = np.array([[0.5, 0.5]], np.float32)


@dataclass(frozen=True)
class GraphFile:
    """A model of a build: its newest exported file."""

    folder: Path
    name: str

    @cached_property
    def data(self) -> bytes:
        """The ONNX file."""
        files = (self.folder / self.name).glob(f"*/{FILE}")
        return max(files, key=lambda path: int(path.parent.name)).read_bytes()

    @cached_property
    def spec(self) -> ModelSpec:
        """The spec that the file carries; that of before December 2026 loads, too."""
        facts = {entry.key: entry.value for entry in onnx.load_from_string(self.data).metadata_props}
        return ModelSpec.model_validate_json(facts[SPEC_KEY])

    def feeds(self, x_in: np.ndarray, x_t: np.ndarray) -> Feeds:
        """What this file is given of a picture (1, 3, h, w) that is one call."""
        size = (x_in.shape[2], x_in.shape[3])
        return to_feeds(x_t, concatenated(self.spec, parts_of(self.spec, x_in, None, size, size)), TIME)


def main() -> None:
    """Prints and keeps the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.one_call", description=__doc__)
    parser.add_argument("model", nargs="?", default="lowlight")
    parser.add_argument("--against", type=Path, required=True, metavar="CHECKOUT")
    parser.add_argument("--side", type=int, default=352, help="of the square picture (352)")
    parser.add_argument("--rounds", type=int, default=15, help="calls of each, in turns (15)")
    parser.add_argument("-o", "--output", type=Path, help="a JSON file for the figures")
    options = parser.parse_args()
    ours, theirs = shipped_repository(), options.against / "model_repository"
    figures = compare(GraphFile(theirs, options.model), GraphFile(ours, options.model), options.side, options.rounds)
    text = json.dumps({"machine": machine(), "model": options.model, "side": options.side, **figures}, indent=1)
    print(text)
    if options.output is not None:
        options.output.write_text(f"{text}\n", encoding="utf-8")


def compare(before: GraphFile, now: GraphFile, side: int, rounds: int) -> dict[str, Any]:
    """Medians of milliseconds, wall and CPU, their ratio round by round, and how far the outputs are apart."""
    x_in = to_x_in(darkened(scene(side, side, 1, 60), 4.0))
    x_t = x_in + picture_noise(0, side, side)(0)
    start = time.process_time()
    feeds = now.feeds(x_in, x_t)
    once = time.process_time() - start
    calls: dict[str, tuple[Call, Feeds]] = {
        "before": (session(before.data), before.feeds(x_in, x_t)),
        "now": (session(now.data), feeds),
    }
    outputs = {name: call(given) for name, (call, given) in calls.items()}
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for turn in range(rounds):
        for name in sorted(calls, reverse=turn % 2 == 1):
            call, given = calls[name]
            begin, cpu = time.perf_counter(), time.process_time()
            call(given)
            seconds[name].append((time.perf_counter() - begin, time.process_time() - cpu))
    apart = max(float(np.abs(one - other).max()) for one, other in zip(outputs["before"], outputs["now"], strict=True))
    return {
        "rounds": rounds,
        "milliseconds": {name: _medians(taken) for name, taken in seconds.items()},
        "now_over_before": {kind: _ratio(seconds, k) for k, kind in enumerate(("wall", "cpu"))},
        "once_a_picture_cpu_milliseconds": round(1000 * once, 1),
        "largest_difference": apart,
    }


def _medians(taken: list[tuple[float, float]]) -> dict[str, float]:
    return {kind: round(1000 * statistics.median(one[k] for one in taken), 2) for k, kind in enumerate(("wall", "cpu"))}


def _ratio(seconds: dict[str, list[tuple[float, float]]], k: int) -> float:
    rounds = zip(seconds["now"], seconds["before"], strict=True)
    return round(statistics.median(ours[k] / theirs[k] for ours, theirs in rounds), 3)


if __name__ == "__main__":
    main()
