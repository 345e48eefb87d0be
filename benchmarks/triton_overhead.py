"""Triton beside the gateway against the network in its process: the same model, picture and steps, in turns, in one run.

python -m benchmarks.triton_overhead [--model lowlight] [--side 256] [--steps 5] [--rounds 9]
"""

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from docker.triton.server import running
from rddm.condition import concatenated, parts_of
from rddm.objective import predict
from rddm.sampler import philox_noise, sample
from rddm.schedule import schedule_of
from service.engines.contract import Engine, Model, Ticket
from service.engines.embedded.engine import EmbeddedEngine, Threads
from service.engines.triton.engine import TritonEngine

Image = NDArray[np.float32]


async def restore(engine: Engine, model: Model, x_in: Image, steps: int) -> Image:
    """x_0, step by step as the gateway does it."""
    spec = model.spec
    schedule, size = schedule_of(spec), x_in.shape[2:]
    sampling = sample(spec, schedule, x_in, philox_noise(0, *x_in.shape[1:]), steps)
    condition = concatenated(spec, parts_of(spec, x_in, np.ones_like(x_in), size, size))
    ticket = Ticket(model.weights, "benchmark", "benchmark")
    question = next(sampling)
    while True:
        outputs = await engine.predict(question.x_t, condition, np.asarray([question.time], np.float32), ticket)
        try:
            question = sampling.send(predict(spec, schedule, outputs, question.x_t, x_in, question.t))
        except StopIteration as end:
            x_0: Image = end.value
            return x_0


async def measure(repository: Path, name: str, side: int, steps: int, rounds: int, url: str) -> dict[str, Any]:
    """Medians in ms, ratios to embedded, and the largest difference of the pictures."""
    engines: dict[str, Any] = {
        "embedded": EmbeddedEngine(repository, Threads(1)),
        "Triton, shared memory": TritonEngine([url], "system"),
        "Triton, bytes": TritonEngine([url], "bytes"),
    }
    for engine in engines.values():
        await engine.start()
    model = engines["embedded"].models()[name]
    x_in = np.random.default_rng(0).uniform(-1, 1, (1, 3, side, side)).astype(np.float32)
    pictures = {kind: await restore(engine, model, x_in, steps) for kind, engine in engines.items()}  # warms up, too
    seconds: dict[str, list[float]] = {kind: [] for kind in engines}
    for _ in track(range(rounds), "measuring", transient=True):
        for kind, engine in engines.items():
            started = time.perf_counter()
            await restore(engine, model, x_in, steps)
            seconds[kind].append(time.perf_counter() - started)
    for engine in engines.values():
        await engine.close()
    medians = {kind: statistics.median(values) * 1000 for kind, values in seconds.items()}
    # each round's own ratio: what the machine did meanwhile strikes both
    ratios = {
        kind: statistics.median(there / here for there, here in zip(values, seconds["embedded"], strict=True))
        for kind, values in seconds.items()
    }
    differences = {kind: float(np.abs(picture - pictures["embedded"]).max()) for kind, picture in pictures.items()}
    return {
        "model": name,
        "side": side,
        "steps": steps,
        "rounds": rounds,
        "ms": medians,
        "ratio": ratios,
        "difference": differences,
    }


def show(report: dict[str, Any]) -> None:
    """A table for people."""
    table = Table("", "ms", "ratio", "largest difference", title=f"{report['model']}, {report['side']} px, {report['steps']} steps")
    for kind, milliseconds in report["ms"].items():
        table.add_row(kind, f"{milliseconds:.1f}", f"{report['ratio'][kind]:.3f}", f"{report['difference'][kind]:.1e}")
    Console().print(table)


def main(argv: Sequence[str] | None = None) -> int:
    """Start a tritonserver on the repository, measure, and print; --json for machines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model-repository", type=Path, default=Path("model_repository"))
    parser.add_argument("--model", default="lowlight")
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(argv)
    with running(given.model_repository) as server:
        report = asyncio.run(measure(given.model_repository, given.model, given.side, given.steps, given.rounds, server.url))
    if given.json:
        print(json.dumps(report, indent=2))
    else:
        show(report)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
