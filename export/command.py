"""`rddm export`."""

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.table import Table

from rddm.spec import ModelSpec, Name


def parser() -> argparse.ArgumentParser:
    """The arguments of the verb."""
    verb = argparse.ArgumentParser(prog="rddm export", description=main.__doc__)
    verb.add_argument(
        "source", type=Path, help="a checkpoint's folder, as `rddm train` and `rddm import` write it; with --tensorrt a repository"
    )
    verb.add_argument(
        "-o", "--output", type=Path, default=Path("model_repository"), help="the model repository (default: %(default)s)"
    )
    verb.add_argument("--name", type=_name, help="the model's name (default: the checkpoint's)")
    verb.add_argument("--version", type=_version, help="number of the version (default: one past every version there)")
    verb.add_argument("--replace", action="store_true", help="overwrite that version if it is there")
    verb.add_argument(
        "--weights",
        choices=["auto", "fp16", "fp32"],
        default="auto",
        help="how the file stores them; arithmetic is float32 (default: fp16 where no answer moves by a quarter of an 8-bit level)",
    )
    verb.add_argument(
        "--tensorrt",
        action="store_true",
        help="build TensorRT plans of a repository, in a folder under OUTPUT named after GPU and TensorRT; prints that folder",
    )
    verb.add_argument("--where", action="store_true", help="with --tensorrt: only print the folder; fails if it is not built")
    return verb


def main(argv: list[str]) -> int:
    """Turn a checkpoint into a model that the gateway and Triton serve."""
    given = parser().parse_args(argv)
    try:
        return _to_plans(given) if given.tensorrt else _to_onnx(given)
    except (OSError, ValueError, RuntimeError) as error:
        print(f"rddm export: {error}", file=sys.stderr)
        return 1


def _name(text: str) -> str:
    try:
        return TypeAdapter[str](Name).validate_python(text)
    except ValidationError:
        allowed = "up to 64 of a-z, 0-9, _ and -, the first a letter or digit"
        raise argparse.ArgumentTypeError(f"{text!r} must be {allowed}") from None


def _version(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of at least 1")
    return int(text)


def _to_onnx(given: argparse.Namespace) -> int:
    from export.release import check_place, release  # noqa: PLC0415  torch takes seconds to import; --help should not
    from training.checkpoint import GRAPH, build, check_folder, load_checkpoint  # noqa: PLC0415

    console = Console()
    check_folder(given.output)
    if (given.source / GRAPH).is_file():
        return _graph_to_repository(given, console)
    checkpoint = load_checkpoint(given.source)
    checkpoint = dataclasses.replace(checkpoint, spec=_named(checkpoint.spec, given.name))
    check_place(given.output, checkpoint.spec, given.version, replace=given.replace)
    with console.status(f"exporting {checkpoint.spec.name} and comparing it with torch; up to a minute"):
        network = build(checkpoint)
        written = release(
            *(network, checkpoint.spec, checkpoint.facts, given.output, given.version),
            replace=given.replace,
            weights=given.weights,
            pictures={name: (given.source / name).read_bytes() for name in checkpoint.facts.get("pictures", {}).values()},
        )
    table = Table("batch x height x width", "deviation from torch", title=f"{written.path}, version {written.model.version}")
    for comparison in written.comparisons:
        table.add_row(" x ".join(map(str, comparison.shape)), f"{comparison.deviation:.1e}")
    console.print(table)
    storage = f"weights stored as {written.weights} (fp16 moves the answers by {written.rounding:.1e})"
    console.print(f"{written.size / 1e6:.2f} MB, {storage}")
    return 0


def _named(spec: ModelSpec, name: str | None) -> ModelSpec:
    """The spec under another name. Raises ValueError for one that no model can have."""
    return spec if name is None else ModelSpec.model_validate({**spec.model_dump(), "name": name})


def _graph_to_repository(given: argparse.Namespace, console: Console) -> int:
    """An imported network of one pass: its graph is published as it is."""
    import onnx  # noqa: PLC0415

    from export.release import release_graph  # noqa: PLC0415
    from training.checkpoint import FACTS, GRAPH, SPEC  # noqa: PLC0415

    if given.weights == "fp16":
        raise ValueError("an imported graph is published with its own weights; leave --weights out")
    spec = _named(ModelSpec.model_validate_json((given.source / SPEC).read_text()), given.name)
    facts = json.loads((given.source / FACTS).read_text()) if (given.source / FACTS).is_file() else {}
    graph = onnx.load(given.source / GRAPH)
    written = release_graph(graph, spec, facts, given.output, given.version, replace=given.replace)
    console.print(f"{written.path}, version {written.model.version}, {written.size / 1e6:.2f} MB, weights as they were")
    return 0


def _to_plans(given: argparse.Namespace) -> int:
    from export.tensorrt import Trtexec, build_repository, built, gpu_name  # noqa: PLC0415  needs onnx, which --help does not

    trtexec, gpu = Trtexec.find(), gpu_name()
    if given.where:
        print(built(given.source, given.output, trtexec, gpu))
        return 0
    console = Console(stderr=True)  # the folder alone goes to stdout
    with console.status("building TensorRT plans; minutes for each model"):
        print(build_repository(given.source, given.output, trtexec, gpu, console.print))
    return 0
