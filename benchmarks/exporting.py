"""CPU seconds of `rddm export` on the authors' U-Net, of any checkouts, side by side.

    python -m benchmarks.exporting before=CHECKOUT now=. --rounds 3 -o benchmarks/results/exporting.json

Every checkout exports one and the same checkpoint (random weights, one network, conditional; written by the first checkout named),
in a process of its own with one thread, in turn. Counted are the user and system seconds of that process from its start to its end,
which other work on the machine lengthens far less than the time on the clock. Then the graphs are asked in turn, by ONNX Runtime in
one thread: what a call costs, and how far the answers are apart.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime
from rich.console import Console
from rich.table import Table

from benchmarks.house import checkout
from benchmarks.machine import machine
from rddm.graph import CONDITION, FILE, TIME, X_T

MODEL, SIDE, CALLS = "unet", 64, 5

WRITE = """
import sys, torch
from pathlib import Path
from training.checkpoint import Checkpoint, save_checkpoint
try:
    from training.networks import UNetConfig, make_network
except ModuleNotFoundError:  # before training had rooms
    from training.network import UNetConfig, make_network
from rddm.spec import ModelSpec
torch.manual_seed(0)
config = UNetConfig(condition=("image",), outputs=1, dim=int(sys.argv[2]), share_encoder=-1)
spec = ModelSpec(name="unet", task="restore", licence="none")
save_checkpoint(Path(sys.argv[1]), Checkpoint(spec, config, make_network(config).state_dict(), {"steps": 0}))
"""
EXPORT = "import sys; from export.command import main; sys.exit(main(sys.argv[1:]))"


@dataclass(frozen=True)
class Run:
    """One export. load: the machine's load average of the last minute at its start."""

    checkout: str
    cpu_seconds: float
    seconds: float
    load: float


def python(root: Path, code: str, *arguments: str) -> float:
    """Run code in a checkout, one thread; CPU seconds of the process. Raises CalledProcessError."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code, *arguments], cwd=root, env=environment, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measured(name: str, root: Path, checkpoint: Path, repository: Path) -> Run:
    """One export, over the one before."""
    load, started = os.getloadavg()[0], time.perf_counter()
    cpu = python(root, EXPORT, str(checkpoint), "-o", str(repository), "--version", "1", "--replace")
    return Run(name, round(cpu, 2), round(time.perf_counter() - started, 1), round(load, 1))


@dataclass(frozen=True)
class Calls:
    """A checkout's graph: CPU milliseconds of a call (median), and its answer's largest difference from the first checkout's."""

    checkout: str
    milliseconds: float
    difference: float


def called(graphs: Mapping[str, Path]) -> list[Calls]:
    """The graphs under ONNX Runtime, in turn."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    sessions = {name: onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"]) for name, path in graphs.items()}
    rng = np.random.default_rng(0)
    feeds = {X_T: rng.uniform(-1, 1, (1, 3, SIDE, SIDE)), CONDITION: rng.uniform(-1, 1, (1, 3, SIDE, SIDE)), TIME: [[500, 500]]}
    given = {name: np.asarray(values, np.float32) for name, values in feeds.items()}
    answers = {name: session.run(None, given)[0] for name, session in sessions.items()}
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for name, session in list(sessions.items()) * CALLS:
        started = time.process_time()
        session.run(None, given)
        times[name].append(1000 * (time.process_time() - started))
    first = next(iter(answers.values()))
    return [Calls(name, round(median(times[name]), 1), float(np.abs(answers[name] - first).max())) for name in sessions]


def show(runs: Iterable[Run], calls: Sequence[Calls]) -> None:
    """Median CPU seconds of each checkout, and as a share of the first; its graph's call and answer."""
    by_name: dict[str, list[float]] = {}
    for run in runs:
        by_name.setdefault(run.checkout, []).append(run.cpu_seconds)
    base = median(next(iter(by_name.values())))
    table = Table("checkout", "exports", "CPU seconds, median", "of the first", "call, CPU ms", "answer's difference")
    for name, seconds in by_name.items():
        [graph] = [call for call in calls if call.checkout == name]
        shares = (f"{median(seconds):.1f}", f"{median(seconds) / base:.2f}", f"{graph.milliseconds:.1f}", f"{graph.difference:.1e}")
        table.add_row(name, str(len(seconds)), *shares)
    Console().print(table)


def main(argv: list[str] | None = None) -> int:
    """Measure the checkouts in turn, print a table, and write every run."""
    p = argparse.ArgumentParser(prog="python -m benchmarks.exporting", description=(__doc__ or "").splitlines()[0])
    p.add_argument("checkouts", nargs="+", type=checkout, metavar="NAME=CHECKOUT")
    p.add_argument("--rounds", type=int, default=3, help="exports of each (default: %(default)s)")
    p.add_argument("--dim", type=int, default=64, help="width of the U-Net (default: %(default)s, the authors')")
    p.add_argument("-o", "--output", type=Path, help="a JSON file for the runs")
    given = p.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint"
        python(given.checkouts[0][1], WRITE, str(checkpoint), str(given.dim))
        places = {name: Path(folder) / name for name, _ in given.checkouts}
        runs = [measured(name, root, checkpoint, places[name]) for _ in range(given.rounds) for name, root in given.checkouts]
        calls = called({name: place / MODEL / "1" / FILE for name, place in places.items()})
    show(runs, calls)
    if given.output:
        facts = {"machine": machine(), "dim": given.dim}
        facts |= {"runs": [asdict(run) for run in runs], "calls": [asdict(call) for call in calls]}
        given.output.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
