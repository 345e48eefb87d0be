"""`rddm import`: what others trained becomes a checkpoint of this project.

Everything that can be refused is refused before anything is written, and what was understood is shown, one fact a line.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import onnx
from pydantic import ValidationError

from rddm.objective import HEADS
from rddm.spec import ModelSpec, TableSchedule
from rddm.tiling import most_pixels
from training.checkpoint import FACTS, GRAPH, SPEC, check_folder, save_checkpoint, write_text
from training.importing import one_pass
from training.importing.ddim import convert_ddim
from training.importing.exported import convert_exported, is_exported
from training.importing.names import to_name
from training.importing.official import FOLDERS, LICENCE, Choices, Variant, convert

Save = Callable[[Path], None]
COMMON = {"name", "task", "licence"}
# The options that each kind of source takes beside its file; another option given with it is refused.
OPTIONS: dict[str, set[str]] = {
    "a checkpoint of the authors": {"variant", "objective", "sum_scale", "image_size", "steps", "eta", "equalize"},
    "a diffusers folder": set(),
    "a network of one pass": {"one_pass", "range", "order", "answer", "constants"},
    "an exported model of this project": set(),
}
GRAPHS = (".onnx", ".pt2")


def parser() -> argparse.ArgumentParser:
    """The verb's arguments; those that are not given are absent."""
    p = argparse.ArgumentParser(
        prog="rddm import",
        description="Make a checkpoint of this project from what others trained: model-N.pt of the authors or of DiffUIR, a "
        "diffusers folder with a DDPM or DDIM scheduler, an image-to-image network of one pass (ONNX, or torch.export), or a model "
        "that this project exported, to train it further.",
        epilog="The result is used like any other: rddm export makes a model that is served.",
        argument_default=argparse.SUPPRESS,
    )
    p.add_argument("source", type=Path, help="a file .pt, .onnx or .pt2, a folder with unet/ and scheduler/, or a model's folder")
    p.add_argument("-o", "--output", type=Path, help="folder of the checkpoint (default: runs/NAME)")
    p.add_argument("--replace", action="store_true", help="overwrite that folder if it is there")
    p.add_argument("--name", help="the model's name (default: from the file's and its folder's)")
    p.add_argument("--task", help="what the model does (default: restore, or generate)")
    p.add_argument("--licence", help=f"licence of the weights (default: {LICENCE})")
    authors = p.add_argument_group("a checkpoint of the authors, or of DiffUIR")
    variants = ", ".join(f"{key} {value}" for key, value in FOLDERS.items())
    authors.add_argument(
        "--variant", choices=get_args(Variant), help=f"whose experiment, where the file leaves it open: {variants}"
    )
    authors.add_argument("--objective", choices=sorted(HEADS), help="what the network models, where the file leaves it open")
    authors.add_argument("--sum-scale", type=float, help="beta_bar_T^2 of the start noise (default: the file's; 1 if converted)")
    authors.add_argument("--image-size", type=int, help="side of generated pictures (default: 64)")
    authors.add_argument(
        "--steps", type=int, help="default number of steps (default: 5; 10 for generation; 2 for E3; 3 for DiffUIR)"
    )
    authors.add_argument("--eta", type=float, help="noise added back in each step of generation, 0..1 (default: 0)")
    authors.add_argument(
        "--equalize", action=argparse.BooleanOptionalAction, help="equalise the input's histogram first (default: E3 only)"
    )
    single = p.add_argument_group("a network of one pass")
    single.add_argument("--one-pass", action="store_true", help="the network's answer is the picture: one call, no noise")
    single.add_argument("--range", choices=get_args(one_pass.Range), help="of its values (default: probed)")
    single.add_argument("--order", choices=get_args(one_pass.Order), help="of its channels (default: rgb)")
    single.add_argument(
        "--answer",
        choices=get_args(one_pass.Answer),
        help="the picture, what is to be taken from it (residual) or added (default: probed)",
    )
    single.add_argument(
        "--constant",
        dest="constants",
        action="append",
        type=_constant,
        metavar="NAME=VALUE",
        help="value of a further input, as FFDNet's noise level",
    )
    return p


def _constant(text: str) -> tuple[str, float]:
    name, equals, value = text.partition("=")
    try:
        if name and equals:
            return name, float(value)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} must be NAME=NUMBER")


def main(argv: list[str]) -> int:
    """Import what others trained: the authors' and DiffUIR's checkpoints, diffusers folders, ONNX networks, exported models."""
    given = vars(parser().parse_args(argv))
    source, output, replace = given.pop("source"), given.pop("output", None), given.pop("replace", False)
    try:
        _check_options(source, given)
        spec, facts, size, save = _read(source, given)
        folder = output or Path("runs") / spec.name
        _check_free(folder, replace)
    except ValidationError as error:
        print(f"rddm import: {_in_words(error)}", file=sys.stderr)
        return 2
    except (ValueError, FileNotFoundError) as error:
        print(f"rddm import: {error}", file=sys.stderr)
        return 2
    try:
        _write(folder, save)
    except OSError as error:
        print(f"rddm import: {folder} cannot be written: {error}", file=sys.stderr)
        return 2
    print("\n".join([str(folder), *describe(spec, facts, size), f"Next: rddm export {folder}"]))
    return 0


def _write(folder: Path, save: Save) -> None:
    """Whole or not at all: beside its place first, so that what is replaced stays until the new one is there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".importing-", dir=folder.parent))
    try:
        save(staging / "new")
        if folder.is_dir():
            folder.rename(staging / "old")
        (staging / "new").rename(folder)
    finally:
        shutil.rmtree(staging)


def kind_of(source: Path) -> str:
    """Which of OPTIONS the source is."""
    if is_exported(source):
        return "an exported model of this project"
    if source.is_dir():
        return "a diffusers folder"
    return "a network of one pass" if source.suffix.lower() in GRAPHS else "a checkpoint of the authors"


def _check_options(source: Path, given: Mapping[str, Any]) -> None:
    """Raises ValueError naming each option that says nothing for such a source."""
    kind = kind_of(source)
    wrong = sorted(
        f"--{key.replace('_', '-').removesuffix('s') if key == 'constants' else key.replace('_', '-')}"
        for key in set(given) - COMMON - OPTIONS[kind]
    )
    if wrong:
        raise ValueError(f"{' and '.join(wrong)} cannot be used with {source.name}, {kind}")
    if kind == "a network of one pass" and "one_pass" not in given:
        raise ValueError(f"{source.name} is a bare network; say --one-pass if its answer to a picture is the picture")
    if kind == "a network of one pass" and "task" not in given:
        raise ValueError("say what the network does: --task denoise, for one")


def _check_free(folder: Path, replace: bool) -> None:
    check_folder(folder)
    if folder.is_dir() and any(folder.iterdir()) and not replace:
        raise ValueError(f"{folder} is there already; name another --output, or say --replace")


def _read(source: Path, given: dict[str, Any]) -> tuple[ModelSpec, Mapping[str, Any], int, Save]:
    """The spec, the card's facts, the number of weights, and what writes the checkpoint to a folder."""
    name, kind = given.get("name") or to_name(source), kind_of(source)
    if kind == "a network of one pass":
        return _read_graph(source, name, given)
    if kind == "an exported model of this project":
        checkpoint = convert_exported(source, given)
    elif kind == "a diffusers folder":
        checkpoint = convert_ddim(source, name, given.get("licence", LICENCE), given.get("task", "generate"))
    else:
        checkpoint = convert(source, Choices(**given))
    size = sum(value.numel() for value in checkpoint.weights.values())
    return checkpoint.spec, checkpoint.facts, size, lambda folder: save_checkpoint(folder, checkpoint)


def _read_graph(source: Path, name: str, given: Mapping[str, Any]) -> tuple[ModelSpec, Mapping[str, Any], int, Save]:
    network = one_pass.read_network(source)
    constants = dict(given.get("constants", []))
    stated = one_pass.Stated(given.get("range"), given.get("order"), given.get("answer"), constants)
    understood = one_pass.understand(network, stated)
    spec = one_pass.spec_of(understood, name, given["task"], given.get("licence", LICENCE))
    graph, facts = one_pass.wrapped(network, understood), one_pass.facts_of(source, understood)
    size = sum(int(one_pass.np.prod(tensor.dims)) for tensor in network.graph.initializer)

    def save(folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        onnx.save(graph, folder / GRAPH)
        write_text(folder / SPEC, spec.model_dump_json(indent=2))
        write_text(folder / FACTS, json.dumps(facts, indent=2))

    return spec, facts, size, save


def _in_words(error: ValidationError) -> str:
    """The first fault of a spec as one line, with the option that sets the field."""
    first = error.errors()[0]
    field = str(first["loc"][-1]) if first["loc"] else ""
    option = {
        "default_steps": "--steps",
        "sum_scale": "--sum-scale",
        "eta": "--eta",
        "name": "--name",
        "task": "--task",
        "image_size": "--image-size",
    }
    said = f"{option.get(field, field)} {first['input']!r}: " if field else ""
    if first["type"] == "string_pattern_mismatch":
        return f"{said}expected at most 64 lower-case letters, digits, '-' and '_', a letter or digit first"
    return said + first["msg"].removeprefix("Value error, ")


def describe(spec: ModelSpec, facts: Mapping[str, Any], size: int) -> Iterator[str]:
    """What was understood, one fact a line."""
    imported = facts.get("imported", {})
    variant = str(imported.get("variant"))
    shown = {
        "name": spec.name,
        "task": spec.task,
        "licence": spec.licence,
        "source": ", ".join(filter(None, (imported.get("file"), variant, FOLDERS.get(variant)))),
        "parameters": f"{size:,}",
        **_sampling(spec),
        **{key: value for key, value in imported.items() if key not in {"file", "variant", "sha256"}},
    }
    return (f"  {key:<18} {value}" for key, value in shown.items())


def _sampling(spec: ModelSpec) -> dict[str, str]:
    if spec.timesteps == 1:
        sizes = ", ".join(f"{height} x {width}" for height, width in spec.sizes)
        return {"tiles": f"{sizes or f'up to {most_pixels(spec):,} pixels'}, overlap {spec.overlap}"}
    tables = "the file's" if isinstance(spec.schedule, TableSchedule) else "named"
    return {
        "objective": spec.objective,
        "condition": ", ".join(spec.condition) or "nothing",
        "start": f"{spec.start}, noise {spec.schedule.sum_scale:g} (sum_scale)" if spec.start == "image" else spec.start,
        "time": spec.time_input,
        "indices": f"{spec.timesteps}, {tables} tables{' with delta' if spec.takes_image_away else ''}",
        "order": f"{spec.order}, grid {spec.grid}, update {spec.update}",
        "eta": f"{spec.eta:g}",
        "steps": f"{spec.default_steps} by default, {spec.min_steps} to {spec.max_steps}",
        "image size": f"{spec.image_size[1]}x{spec.image_size[0]}"
        if spec.image_size
        else f"any, in multiples of {spec.size_multiple}",
        "histogram": "equalised first" if "equalize_histogram" in spec.preprocessing else "as it is",
    }
