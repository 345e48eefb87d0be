"""Where a call's time goes: each operator of the models' graphs under ONNX Runtime, on one thread, fastest of several runs.

python -m benchmarks.profile [--runs N] [MODEL ...]
"""

import argparse
import json
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

import onnxruntime
from rich.console import Console
from rich.table import Table

from rddm.model import golden_input
from rddm.tiling import usual_size
from service.engines.embedded.sessions import session_options
from service.engines.repository import ModelFile, find_newest, names_in
from service.settings import shipped_repository


def main() -> None:
    """Prints a table for each model."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    parser.add_argument("models", nargs="*", help="(all)")
    parser.add_argument("--runs", type=int, default=8, help="of which the fastest counts, node by node (8)")
    options = parser.parse_args()
    folder = shipped_repository()
    for name in options.models or names_in(folder):
        Console().print(table(name, node_times(find_newest(folder, name), options.runs)))


def node_times(file: ModelFile, runs: int) -> dict[tuple[str, str], float]:
    """Milliseconds by (operator, node) of a call at the model's usual size."""
    spec = file.model.spec
    feeds = golden_input(spec, usual_size(spec)[0])
    with tempfile.TemporaryDirectory() as folder:
        options = session_options(1)
        options.enable_profiling = True
        options.profile_file_prefix = f"{folder}/profile"
        session = onnxruntime.InferenceSession(file.read(), options, providers=["CPUExecutionProvider"])
        for _ in range(runs):
            session.run(None, feeds)
        events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    fastest: dict[tuple[str, str], float] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            key = (event["args"]["op_name"], event["name"])
            fastest[key] = min(event["dur"] / 1000, fastest.get(key, float("inf")))
    return fastest


def table(name: str, times: dict[tuple[str, str], float]) -> Table:
    """Operators by what they take in all."""
    total, counts = sum(times.values()), Counter(operator for operator, _ in times)
    taken: defaultdict[str, float] = defaultdict(float)
    for (operator, _), milliseconds in times.items():
        taken[operator] += milliseconds
    shown = Table("operator", "nodes", "ms", "share", title=f"{name}: {total:.1f} ms")
    for operator, milliseconds in sorted(taken.items(), key=lambda one: -one[1]):
        if milliseconds > total / 200:
            shown.add_row(operator, str(counts[operator]), f"{milliseconds:.2f}", f"{milliseconds / total:.1%}")
    return shown


if __name__ == "__main__":
    main()
