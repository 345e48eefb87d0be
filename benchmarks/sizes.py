"""What the network calls of a picture cost on one core, by the picture's size: this build, another one, and OpenVINO (float32).

python -m benchmarks.sizes --against CHECKOUT [-o FILE] [--rounds N] [MODEL ...]

CPU milliseconds a megapixel of picture: a call of its tile's size, one thread, the fastest of several in turns, times its tiles.
CPU time, since a machine that does other things too delays what it does not make dearer. Beside it stands the share of this
machine's matrix rate (a float32 product of two 1024x1024 matrices in ONNX Runtime, in the same turns) that the call reaches,
counted by the arithmetic of its convolutions and matrix products as the graph writes them.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from benchmarks.machine import machine
from rddm.graph import FILE, SPEC_KEY, Feeds
from rddm.model import golden_input
from rddm.spec import ModelSpec
from rddm.tiling import Plan, plan
from service.engines.contract import Outputs
from service.engines.embedded.sessions import session_options
from service.engines.openvino.runtime import OpenVinoRuntime
from service.engines.registry import cache_folder
from service.engines.repository import find_newest
from service.settings import shipped_repository

SIZES = {"1": (800, 1280), "2": (1080, 1920), "8": (2160, 3840)}  # megapixels: height, width
MODELS = ("lowlight", "derain", "raindrop")
COUNTED_SIDE = 64  # the arithmetic of a pixel does not depend on the picture's size
MATRIX = 1024
PRODUCT = "product"
Call = Callable[[Feeds], Outputs]


@dataclass(frozen=True)
class Candidate:
    """A way to make a model's calls. tiles: how it works on a picture of (height, width). flops: of a pixel, one call."""

    call: Call
    spec: ModelSpec
    tiles: Callable[[int, int], Plan]
    flops: float


def main() -> None:
    """Prints and keeps the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sizes", description=__doc__)
    parser.add_argument("models", nargs="*", default=MODELS, help=f"({', '.join(MODELS)})")
    parser.add_argument("--against", type=Path, required=True, metavar="CHECKOUT", help="of a build of before December 2026")
    parser.add_argument("-o", "--output", type=Path, help="a JSON file for the figures")
    parser.add_argument("--rounds", type=int, default=3, help="calls of each, in turns, of which the fastest counts (3)")
    options = parser.parse_args()
    models = {name: compare(name, options.against, options.rounds) for name in options.models}
    text = json.dumps({"machine": machine(), "rounds": options.rounds, "models": models}, indent=1)
    print(text)
    if options.output is not None:
        options.output.write_text(f"{text}\n", encoding="utf-8")


def compare(name: str, against: Path, rounds: int) -> dict[str, Any]:
    """One model at every size: milliseconds a megapixel of picture, and the share of the matrix rate."""
    ways = candidates(name, against)
    table: dict[str, Any] = {}
    for megapixels, (height, width) in SIZES.items():
        plans = {way: candidate.tiles(height, width) for way, candidate in ways.items()}
        taken = fastest(ways, plans, rounds)
        rate = 2 * MATRIX**3 / taken.pop(PRODUCT) / 1e9
        table[megapixels] = {"matrix_gflops": round(rate, 1)}
        for way, seconds in taken.items():
            tiles = plans[way].tiles
            computed = len(tiles) * tiles[0].height * tiles[0].width
            reached = ways[way].flops * tiles[0].height * tiles[0].width / seconds / 1e9
            table[megapixels][way] = {
                "milliseconds_a_megapixel": round(1000 * seconds * len(tiles) / (height * width / 1e6), 1),
                "computed_over_needed": round(computed / (height * width), 3),
                "share_of_matrix_rate": round(reached / rate, 3),
            }
    return table


def fastest(ways: Mapping[str, Candidate], plans: Mapping[str, Plan], rounds: int) -> dict[str, float]:
    """CPU seconds of each way's call at the size of its tiles, and of the product, in turns; the first of each does not count."""
    calls = {PRODUCT: matrix_product()} | {way: _prepared(candidate, plans[way]) for way, candidate in ways.items()}
    seconds: dict[str, list[float]] = {way: [] for way in calls}
    for _ in range(rounds + 1):
        for way, call in calls.items():
            start = time.process_time()
            call()
            seconds[way].append(time.process_time() - start)
    return {way: min(taken[1:]) for way, taken in seconds.items()}


def _prepared(candidate: Candidate, its_plan: Plan) -> Callable[[], Outputs]:
    tile = its_plan.tiles[0]
    return partial(candidate.call, of_size(candidate.spec, tile.height, tile.width))


def of_size(spec: ModelSpec, height: int, width: int) -> Feeds:
    """A graph's inputs of this size."""
    feeds = golden_input(spec, max(height, width))
    return {name: np.ascontiguousarray(part[..., :height, :width]) if part.ndim == 4 else part for name, part in feeds.items()}


def candidates(name: str, against: Path) -> dict[str, Candidate]:
    """The other build's file in its own tiles, this one's, and this one's by OpenVINO."""
    file = find_newest(shipped_repository(), name)
    data, spec = file.read(), file.model.spec
    before = max((against / "model_repository" / name).glob(f"*/{FILE}"), key=lambda path: int(path.parent.name)).read_bytes()
    facts = {entry.key: entry.value for entry in onnx.load_from_string(before).metadata_props}[SPEC_KEY]
    openvino = OpenVinoRuntime(cache_folder() / "openvino", "f32").open(data, file.model, 1)
    return {
        "before": Candidate(session(before), ModelSpec.model_validate_json(facts), earlier_tiles(json.loads(facts)), flops(before)),
        "now": Candidate(session(data), spec, lambda height, width: plan(spec, height, width), flops(data)),
        "openvino": Candidate(
            lambda feeds: openvino.run(feeds, Future()), spec, lambda height, width: plan(spec, height, width), flops(data)
        ),
    }


def earlier_tiles(facts: Mapping[str, Any]) -> Callable[[int, int], Plan]:
    """Square tiles of the spec's size above whole_max pixels, as they were before December 2026."""
    whole = ModelSpec.model_validate(facts)
    tiled = ModelSpec.model_validate({**facts, "whole_max": 1})
    return lambda height, width: plan(whole if height * width <= facts["whole_max"] else tiled, height, width)


def session(data: bytes) -> Call:
    """A call of the file by ONNX Runtime on one thread."""
    opened = onnxruntime.InferenceSession(data, session_options(1), providers=["CPUExecutionProvider"])
    return lambda feeds: tuple(opened.run(None, dict(feeds)))


def flops(data: bytes) -> float:
    """Multiplications and additions of a pixel's share of one call, in convolutions and matrix products, as the graph has them."""
    model = ModelSpec.model_validate_json({e.key: e.value for e in onnx.load_from_string(data).metadata_props}[SPEC_KEY])
    with tempfile.TemporaryDirectory() as folder:
        options = session_options(1)
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.enable_profiling, options.profile_file_prefix = True, f"{folder}/profile"
        opened = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        opened.run(None, golden_input(model, COUNTED_SIDE))
        events = json.loads(Path(opened.end_profiling()).read_text("utf-8"))
    nodes = [event["args"] for event in events if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")]
    return sum(arithmetic(node) for node in nodes) / COUNTED_SIDE**2


def arithmetic(node: Mapping[str, Any]) -> int:
    """Of one node of a profile: two for each weight and place of the output."""
    if node["op_name"] not in {"Conv", "MatMul", "Gemm"}:
        return 0
    weight, output = (next(iter(shape.values())) for shape in (node["input_type_shape"][1], node["output_type_shape"][0]))
    if node["op_name"] == "Conv":
        return 2 * prod(weight) * output[0] * output[2] * output[3]
    return 2 * prod(output) * weight[0 if node["op_name"] == "MatMul" else 1]


def matrix_product() -> Callable[[], Outputs]:
    """A float32 product of two square matrices on one thread."""
    shape = [MATRIX, MATRIX]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "abc"]
    weight = helper.make_tensor("b", TensorProto.FLOAT, shape, np.ones(shape, np.float32).tobytes(), raw=True)
    graph = helper.make_graph([helper.make_node("MatMul", ["a", "b"], ["c"])], "product", values[:1], values[2:], [weight])
    product = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return partial(session(product.SerializeToString()), {"a": np.ones(shape, np.float32)})


if __name__ == "__main__":
    main()
