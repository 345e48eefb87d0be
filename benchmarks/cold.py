"""`cold-start` and `cold-command`: what a new process costs until it serves, and until it has restored one picture.

CPU seconds count for more than wall: they hardly change on a machine that has other things to do. Builds are asked in turns, and a
ratio is of one round. `bare` opens the sessions that the first build serves with, one thread each, and makes one small call
of each: what no start can do without. A first start of each build is not counted: it leaves the modules compiled, as an
installation does.
"""

import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx2
import psutil

from benchmarks.builds import Build, address_of
from benchmarks.contenders import READY_SECONDS, cpu_of, environment
from benchmarks.pictures import darkened, scene, to_png

Report = dict[str, Any]
BARE = "bare"
PICTURE = (400, 600)
OPEN_ALL = """
import sys
from pathlib import Path
import numpy, onnxruntime
for file in sorted(Path(sys.argv[1]).glob("*/*/model.onnx")):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    shapes = {one.name: [1, *(32 if isinstance(size, str) else size for size in one.shape[1:])] for one in session.get_inputs()}
    session.run(None, {name: numpy.zeros(shape, numpy.float32) for name, shape in shapes.items()})
"""


@dataclass(frozen=True)
class Cost:
    """Seconds of one new process with its children."""

    cpu: float
    wall: float


Costs = dict[str, list[Cost]]  # by build, in the order of the rounds


def cold_start(builds: Sequence[Build], folder: Path | None, rounds: int, tick: Callable[[str], None]) -> Report:
    """Until /readyz is 200: with what an earlier process learnt, and without."""
    with tempfile.TemporaryDirectory() as scratch:
        kept = {build.name: Path(scratch, f"kept-{k}") for k, build in enumerate(builds)}
        for build in builds:
            start(build, folder, kept[build.name])
            tick(f"first start of {build.name}")
        reports = {}
        for state in ("cache present", "cache absent"):
            costs: Costs = {name: [] for name in (*kept, BARE)}
            for turn in range(rounds):
                for build in in_turn(builds, turn):
                    cache = kept[build.name] if state == "cache present" else Path(tempfile.mkdtemp(dir=scratch))
                    costs[build.name].append(start(build, folder, cache))
                    tick(f"round {turn + 1}: {build.name}, {state}")
                costs[BARE].append(run([str(builds[0].python), "-c", OPEN_ALL, str(builds[0].models(folder))], builds[0].folder))
            reports[state] = summary(costs)
    return reports


def cold_command(builds: Sequence[Build], folder: Path | None, rounds: int, tick: Callable[[str], None]) -> Report:
    """`rddm restore` of one picture of 600x400 by lowlight, which e52b7ca takes without being asked."""
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "picture.png")
        source.write_bytes(to_png(darkened(scene(*PICTURE, 1, 60), 4.0)))
        costs: Costs = {build.name: [] for build in builds}
        for turn in range(rounds + 1):
            for build in in_turn(builds, turn):
                cost = restored(build, folder, source, Path(tempfile.mkdtemp(dir=scratch)))
                if turn:
                    costs[build.name].append(cost)
                tick(f"round {turn}: {build.name}")
        return summary(costs)


def restored(build: Build, folder: Path | None, source: Path, scratch: Path) -> Cost:
    """One picture by a command, which finds nothing that was learnt. Raises RuntimeError where it leaves no picture."""
    target = scratch / "restored.png"
    command = build.command("restore", str(source), "-o", str(target), "--task", "lowlight")
    models = {"RDDM_MODEL_REPOSITORY": str(build.models(folder))}  # e52b7ca takes no option for it
    cost = run(command, build.folder, scratch, models)
    if not target.is_file():
        raise RuntimeError(f"{command} left no picture")
    return cost


def in_turn(builds: Sequence[Build], turn: int) -> Iterator[Build]:
    """Another one begins in each round."""
    shift = turn % len(builds)
    yield from (*builds[shift:], *builds[:shift])


def summary(costs: Costs) -> Report:
    """Medians, and each build's CPU seconds over the first one's of the same round."""
    first = next(iter(costs.values()))
    return {
        name: {
            "cpu_seconds": statistics.median(cost.cpu for cost in mine),
            "wall_seconds": statistics.median(cost.wall for cost in mine),
            "cpu_over_first": statistics.median(cost.cpu / one.cpu for cost, one in zip(mine, first, strict=True)),
            "rounds": [asdict(cost) for cost in mine],
        }
        for name, mine in costs.items()
    }


def start(build: Build, folder: Path | None, cache: Path) -> Cost:
    """A gateway until it is ready, with what it keeps in a folder of ours; it is ended then."""
    begin = time.monotonic()
    with serving(build, folder, cache) as (process, url):
        while httpx2.get(f"{url}/readyz", timeout=READY_SECONDS).status_code != 200:
            if time.monotonic() > begin + READY_SECONDS:
                raise RuntimeError(f"{build.name} was not ready within {READY_SECONDS:g} s")
            time.sleep(0.05)
        return Cost(cpu_of(process), time.monotonic() - begin)


@contextmanager
def serving(build: Build, folder: Path | None, cache: Path) -> Iterator[tuple[psutil.Process, str]]:
    """A gateway that listens, and its address."""
    command = build.command("serve", "--port", "0", "--model-repository", str(build.models(folder)))
    quiet = {"RDDM_JOBS_FILE": ":memory:", "RDDM_LOG_LEVEL": "error"}
    process = subprocess.Popen(
        command, cwd=build.folder, env=variables(cache) | quiet, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        yield psutil.Process(process.pid), address_of(process)
    finally:
        process.kill()
        process.communicate()


def run(command: Sequence[str], folder: Path, cache: Path | None = None, settings: Mapping[str, str] | None = None) -> Cost:
    """A process to its end, with settings of the gateway's in its environment. Raises CalledProcessError where it fails."""
    given, quiet = variables(cache) | dict(settings or {}), subprocess.DEVNULL
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, cwd=folder, env=given, check=True, stdout=quiet, stderr=quiet)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, time.monotonic() - begin)


def variables(cache: Path | None) -> dict[str, str]:
    """Ours, without what would tell another build where to look, or have every process compile all modules."""
    without = {"PYTHONPATH", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE"}
    ours = {name: value for name, value in environment().items() if name not in without}
    return ours if cache is None else ours | {"XDG_CACHE_HOME": str(cache), "XDG_STATE_HOME": str(cache)}
