"""Quality against time: PSNR and milliseconds per megapixel of models, at every number of steps, in every arithmetic.

    python -m benchmarks.tradeoff model_repository/derain runs/small --target 'val/target/*' --given 'val/input/*' -o tradeoff

MODEL is a folder of the repository, or a model.onnx. Pictures are restored whole at their own size, as `rddm evaluate` does; the
time is that of the sampler with its network calls in one thread of ONNX Runtime (pictures in turns over what is compared, fastest
of the rounds), without decoding and encoding. `bf16` lowers the convolutions; `int8` quantises them, calibrated on
procedural scenes that were degraded as in training, never on the pictures that are measured.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from rich.progress import track

from export.precision import lowered
from rddm.graph import FILE, SPEC_KEY, Feeds
from rddm.spec import ModelSpec
from training.checkpoint import newest_graph
from training.evaluation.evaluate import Example, examples, read_example
from training.evaluation.metrics import psnr
from training.sampling import restore_picture

CALIBRATION = 24  # pictures
KINDS = ("fp32", "bf16", "int8")
STATE: Any = onnxruntime.capi.onnxruntime_pybind11_state
CANNOT_RUN = (STATE.NotImplemented, STATE.InvalidGraph)  # types that the CPU's kernels, or the standard, do not know


Inputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class Contender:
    """One graph in one arithmetic."""

    name: str
    spec: ModelSpec
    session: onnxruntime.InferenceSession

    def restore(self, picture: np.ndarray, steps: int) -> np.ndarray:
        """h w 3 uint8 -> the same restored."""
        return restore_picture(lambda feeds: self.session.run(None, dict(feeds)), self.spec, picture, steps)


def graph_of(path: Path) -> Path:
    """A model.onnx, or the newest version's in a folder of the repository. Raises FileNotFoundError for neither."""
    graph = path if path.is_file() else newest_graph(path)
    if graph is None:
        raise FileNotFoundError(f"{path} is no {FILE} and holds no version with one")
    return graph


def session_of(model: onnx.ModelProto, threads: int) -> onnxruntime.InferenceSession:
    """On the CPU, with the embedded engine's settings, in so many threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


class Degraded(CalibrationDataReader):  # type: ignore[misc] (untyped package)
    """What the network is asked while it restores scenes made here: the inputs of every call, recorded."""

    def __init__(self, spec: ModelSpec, session: onnxruntime.InferenceSession, pictures: Sequence[np.ndarray]) -> None:
        asked: list[Inputs] = []

        def noted(feeds: Feeds) -> list[np.ndarray]:
            asked.append({name: array.copy() for name, array in feeds.items()})
            outputs: list[np.ndarray] = session.run(None, dict(feeds))
            return outputs

        for picture in pictures:
            restore_picture(noted, spec, picture)
        self.left = iter(asked)

    def get_next(self) -> Inputs | None:
        """The next call's inputs, or None."""
        return next(self.left, None)


def degraded_scenes(task: str) -> list[np.ndarray]:
    """Scenes as training degrades them, h w 3 uint8. Raises ValueError for a task without a synthesis."""
    from training.synthesis.sheet import SHEETS  # noqa: PLC0415 (renders pictures)

    kind = {"derain": "rain"}.get(task, task)
    if kind not in SHEETS:
        raise ValueError(f"no synthesis is known for task {task!r}; int8 can be tried for {', '.join(sorted(SHEETS))}")
    return [np.ascontiguousarray(picture[:, : picture.shape[1] // 2]) for picture in SHEETS[kind](CALIBRATION, 0)]


def quantised(model: onnx.ModelProto, spec: ModelSpec) -> onnx.ModelProto:
    """Convolutions with int8 weights per channel and uint8 activations."""
    reader = Degraded(spec, session_of(model, 1), degraded_scenes(spec.task))
    with TemporaryDirectory() as folder:
        given, made = Path(folder) / "given.onnx", Path(folder) / "made.onnx"
        onnx.save(model, given)
        quantize_static(
            given,
            made,
            reader,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        return onnx.load(made)


MAKERS: dict[str, Callable[[onnx.ModelProto, ModelSpec], onnx.ModelProto]] = {
    "fp32": lambda model, _spec: model,
    "bf16": lambda model, _spec: lowered(model, "bf16"),
    "int8": quantised,
}


def contenders(path: Path, kinds: Iterable[str], threads: int) -> list[Contender]:
    """The graph at path in every arithmetic that this machine's ONNX Runtime can run."""
    model = onnx.load(graph_of(path))
    spec = ModelSpec.model_validate_json({entry.key: entry.value for entry in model.metadata_props}[SPEC_KEY])
    contenders = []
    for kind in kinds:
        try:
            session = session_of(MAKERS[kind](model, spec), threads)
        except CANNOT_RUN as error:
            print(f"{path.name} {kind}: this ONNX Runtime cannot run it ({str(error).splitlines()[0][-160:]})", file=sys.stderr)
            continue
        contenders.append(Contender(f"{path.name} {kind}", spec, session))
    return contenders


def measure(entrants: Sequence[Contender], steps: Sequence[int], pictures: Sequence[Example], rounds: int) -> list[dict[str, Any]]:
    """A row for every contender and number of steps: PSNR in dB (mean over pictures), ms per megapixel (fastest round)."""
    rows = {(one.name, count): {"psnr": [], "ms": []} for one in entrants for count in steps if count <= one.spec.max_steps}
    for turn in track(range(rounds), "measuring"):
        for example in pictures:
            for one in entrants if turn % 2 == 0 else reversed(entrants):
                for count in [count for count in steps if (one.name, count) in rows]:
                    started = time.perf_counter()
                    restored = one.restore(example.given, count)
                    megapixels = example.given.shape[0] * example.given.shape[1] / 1e6
                    rows[one.name, count]["ms"].append((turn, (time.perf_counter() - started) * 1000, megapixels))
                    if turn == 0:
                        rows[one.name, count]["psnr"].append(psnr(restored, example.target))
    return [
        {"model": name, "steps": count, "psnr": float(np.mean(row["psnr"])), "ms_per_megapixel": fastest(row["ms"], rounds)}
        for (name, count), row in rows.items()
    ]


def fastest(times: Sequence[tuple[int, float, float]], rounds: int) -> float:
    """Milliseconds per megapixel of the round that took least."""
    sums = [[(ms, mp) for turn, ms, mp in times if turn == number] for number in range(rounds)]
    return min(sum(ms for ms, _ in round_) / sum(mp for _, mp in round_) for round_ in sums)


def draw(rows: Sequence[Mapping[str, Any]], title: str, path: Path) -> None:
    """PSNR over milliseconds per megapixel, a line per contender, the number of steps beside each point."""
    from matplotlib.figure import Figure  # noqa: PLC0415  takes a second to import

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for name in dict.fromkeys(row["model"] for row in rows):
        own = [row for row in rows if row["model"] == name]
        axes.plot([row["ms_per_megapixel"] for row in own], [row["psnr"] for row in own], marker="o", label=name)
        for row in own:
            axes.annotate(f" {row['steps']}", (row["ms_per_megapixel"], row["psnr"]), fontsize=8)
    axes.set(xscale="log", xlabel="ms per megapixel, one thread", ylabel="PSNR in dB", title=title)
    axes.legend()
    axes.grid(alpha=0.3, which="both")
    figure.savefig(path, dpi=110)


def main(argv: list[str]) -> int:
    """Measure and write NAME.json and NAME.png; 2 for arguments that do not fit."""
    p = argparse.ArgumentParser(prog="python -m benchmarks.tradeoff", description="PSNR against milliseconds per megapixel.")
    p.add_argument("models", nargs="+", type=Path, help="folders of the repository, or model.onnx files")
    p.add_argument("--target", required=True)
    p.add_argument("--given", required=True)
    p.add_argument("--steps", type=int, nargs="+", default=[1, 2, 3, 5])
    p.add_argument("--kinds", nargs="+", choices=KINDS, default=["fp32"], help="arithmetic (default: fp32)")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--title", default="quality against time")
    p.add_argument("-o", "--output", type=Path, required=True, help="path without suffix")
    args = p.parse_args(argv)
    torch.set_num_threads(args.threads)
    try:
        pictures = [read_example(group) for group in examples(args.target, args.given, None)]
        entrants = [one for path in args.models for one in contenders(path, args.kinds, args.threads)]
    except (ValueError, FileNotFoundError) as error:
        print(f"tradeoff: {error}", file=sys.stderr)
        return 2
    rows = measure(entrants, args.steps, pictures, args.rounds)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    report = {"pictures": len(pictures), "threads": args.threads, "rounds": args.rounds, "rows": rows}
    args.output.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n")
    draw(rows, args.title, args.output.with_suffix(".png"))
    for row in rows:
        print(f"{row['model']:28} {row['steps']} steps  {row['psnr']:.2f} dB  {row['ms_per_megapixel']:.0f} ms/MP")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
