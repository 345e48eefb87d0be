"""How memory and time grow with the picture, each size in a process of its own.

One of them: `python -m benchmarks.growth REPOSITORY MODEL HEIGHT WIDTH STEPS`.
"""

import asyncio
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.machine import peak_memory
from benchmarks.pictures import darkened, scene, to_x_in
from service.engines.embedded.engine import EmbeddedEngine
from service.sampling.pipeline import Pipeline
from service.sampling.work import Work
from service.scheduling.admission import megapixel_steps
from service.scheduling.scheduler import Scheduler

WIDTHS = ((512, 288), (1024, 576), (2048, 1152), (3840, 2160))  # for memory, width x height
SMALL = ((64, 64), (128, 128), (256, 256), (512, 512))
SIZES = (*SMALL, (1280, 800), (1920, 1080), (2560, 1600), (3840, 2160))  # for time: the last four are 1.0, 2.1, 4.1, 8.3 megapixels
PATCH = 256
MIB = 1024 * 1024


@dataclass(frozen=True)
class Growth:
    """One picture. base_mib: resident before it is sampled; peak_mib: the most until it is done; network: megapixel-steps."""

    width: int
    height: int
    steps: int
    megapixels: float
    network: float
    seconds: float
    cpu_seconds: float
    base_mib: float
    peak_mib: float

    @property
    def per_megapixel_step(self) -> float:
        """CPU seconds per megapixel-step of the network."""
        return self.cpu_seconds / self.network


def resident() -> float:
    """MiB that the process holds now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / MIB


def forget_peak() -> None:
    """`peak_memory` counts from now on."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


async def sample(folder: Path, name: str, height: int, width: int, steps: int) -> Growth:
    """One picture through pipeline and scheduler; the first small one warms up what is made once."""
    engine = EmbeddedEngine(folder)
    await engine.start()
    model = engine.models()[name]
    scheduler = Scheduler(engine, engine.instances)
    scheduler.introduce(model)
    pipeline = Pipeline(scheduler, scheduler)
    patch = to_x_in(darkened(scene(PATCH, PATCH, 0, 60), 3.0))
    await asyncio.gather(*(pipeline.run(Work(model, 1, 0, f"warm{k}", "growth", patch)) for k in range(4)))
    tiles = np.tile(patch, (1, 1, -(-height // PATCH), -(-width // PATCH)))
    x_in = np.ascontiguousarray(tiles[..., :height, :width])
    del tiles
    forget_peak()
    base, started, cpu = resident(), time.perf_counter(), time.process_time()
    await pipeline.run(Work(model, steps, 0, "growth", "growth", x_in, keep=frozenset()))
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    network = megapixel_steps(model.spec, height, width, steps)
    pipeline.close()
    await scheduler.close()
    await engine.close()
    return Growth(width, height, steps, height * width / 1e6, network, seconds, cpu, base, peak_memory())


def apart(
    folder: Path, name: str, sizes: Iterable[tuple[int, int]], steps: int, rounds: int, tick: Callable[[str], None]
) -> Iterator[Growth]:
    """Each size in a process of its own; the rounds take turns over the sizes."""
    for turn in range(rounds):
        for width, height in sizes:
            tick(f"round {turn + 1}: {width}x{height}, {steps} steps")
            command = [sys.executable, "-m", "benchmarks.growth", str(folder), name, str(height), str(width), str(steps)]
            yield Growth(**json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


if __name__ == "__main__":
    folder, name, *numbers = sys.argv[1:]
    print(json.dumps(asdict(asyncio.run(sample(Path(folder), name, *map(int, numbers))))))
