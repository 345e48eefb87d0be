"""The bare loop: decode, the sampler against an ONNX Runtime session, encode; no service. The peers serve it, too.

python -m benchmarks.loop REPOSITORY MODEL     answers commands, one JSON object a line (see Workload)
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from rddm.condition import restore_whole
from rddm.graph import Feeds
from rddm.image import to_image, to_pixels
from service.engines.embedded.sessions import make_session
from service.engines.repository import find_newest
from service.pictures.decode import decode
from service.pictures.encode import encode
from service.pictures.formats import FORMATS
from service.pictures.picture import Bounds, Picture
from service.sampling.state import DEFAULT_SEED, noise_of

Image = NDArray[np.float32]
BOUNDS = Bounds(2**25, 2**14)
CORES = len(os.sched_getaffinity(0))


def session_of(path: Path, threads: int = 1) -> onnxruntime.InferenceSession:
    """As the embedded engine makes it: of one thread for calls side by side, of all for one that is alone."""
    return make_session(path.read_bytes(), threads)


class Loop:
    """A model of the repository and the way through it, for pictures that are one call each. threads: of each call."""

    def __init__(self, folder: Path, name: str, threads: int = 1) -> None:
        file = find_newest(folder, name)
        self.spec, self._session = file.model.spec, session_of(file.path, threads)

    def restore(self, bodies: Sequence[bytes], steps: int, seeds: Sequence[int]) -> list[bytes]:
        """Picture files of one size in, PNG files out, in one batch."""
        x_in = np.concatenate([to_image(decode(body, BOUNDS).pixels) for body in bodies])
        x_0 = self.sample(x_in, steps, seeds)
        return [encode(Picture(to_pixels(x_0[k : k + 1])), FORMATS["png"]) for k in range(len(bodies))]

    def generate(self, steps: int, seed: int) -> bytes:
        """A PNG file."""
        height, width = self.spec.image_size or (0, 0)
        x_0 = self.sample(np.zeros((1, 3, height, width), np.float32), steps, [seed])
        return encode(Picture(to_pixels(x_0)), FORMATS["png"])

    def sample(self, pictures: Image, steps: int, seeds: Sequence[int]) -> Image:
        """x_0 of a batch of pictures, b 3 h w."""
        return restore_whole(self.call, self.spec, pictures, steps, seeds, noise_of=noise_of)

    def call(self, feeds: Feeds) -> list[Image]:
        """The bare network."""
        outputs: list[Image] = self._session.run(None, dict(feeds))
        return outputs


@dataclass(frozen=True)
class Workload:
    """count pictures from a file, in batches, by so many threads; steps are taken in turn. No file: they are generated.

    With own_seeds each picture has a seed of its own, else the one that requests have which name none.
    """

    count: int
    steps: list[int]
    threads: int = 1
    batch: int = 1
    file: str | None = None
    own_seeds: bool = False


@dataclass(frozen=True)
class Measurement:
    """seconds of all, CPU seconds of the process, and seconds of each batch."""

    seconds: float
    cpu: float
    latencies: list[float]


def measure(beside: Loop, alone: Loop, workload: Workload) -> Measurement:
    """Runs a workload and measures it: by the loop whose calls have all threads if only one is made at a time."""
    loop = alone if workload.threads == 1 else beside
    body = Path(workload.file).read_bytes() if workload.file else b""

    def one(index: int) -> float:
        started, steps = time.perf_counter(), workload.steps[index % len(workload.steps)]
        if workload.file:
            seeds = [index * workload.batch + k if workload.own_seeds else DEFAULT_SEED for k in range(workload.batch)]
            loop.restore([body] * workload.batch, steps, seeds)
        else:
            loop.generate(steps, index)
        return time.perf_counter() - started

    started, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(workload.threads) as pool:
        latencies = list(pool.map(one, range(workload.count // workload.batch)))
    return Measurement(time.perf_counter() - started, time.process_time() - cpu, latencies)


def main(folder: str, name: str) -> None:
    """Runs workloads from standard input until it ends; the first line tells that the model is loaded."""
    beside, alone = (Loop(Path(folder), name, threads) for threads in (1, CORES))
    print(json.dumps({"ready": os.getpid()}), flush=True)
    for line in sys.stdin:
        print(json.dumps(asdict(measure(beside, alone, Workload(**json.loads(line))))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
