"""A network into the model repository: `<folder>/<name>/{config.pbtxt, <version>/model.onnx, README.md}`, all of it or nothing."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import onnx
import onnxruntime
from torch import nn

from export.card import to_card
from export.configuration import ONNX, Backend, from_text, to_text
from export.graph import Comparison, compare, plain, rounded, rounding, to_onnx
from rddm.model import Golden, Model, golden_input
from rddm.spec import ModelSpec

# An engine's golden answer may move by this much (max|a - b| / (1 + max|b|)): half a level of an 8-bit picture, which leaves room
# for another processor's rounding and for TF32, and for nothing that could be seen.
GOLDEN_TOLERANCE = 4e-3
UNSEEN = 2e-3  # weights are stored as fp16 where that moves no answer by more than a quarter of a level
CARD, CONFIG = "README.md", "config.pbtxt"

Weights = Literal["auto", "fp16", "fp32"]


@dataclass(frozen=True)
class Release:
    """What was written, and how it compares with torch. rounding: how far storing the weights as fp16 moves the answers."""

    path: Path
    model: Model
    weights: Literal["fp16", "fp32"]
    rounding: float
    comparisons: tuple[Comparison, ...]
    size: int


def release(
    network: nn.Module,
    spec: ModelSpec,
    facts: Mapping[str, Any],
    folder: Path,
    version: int | None = None,
    *,
    replace: bool = False,
    weights: Weights = "auto",
) -> Release:
    """Export the network, compare it with torch, and write it as `version` (default: one more than the newest there).

    Raises FileExistsError for a version that is there unless `replace`; ValueError where ONNX Runtime and torch disagree, or
    versions do.
    """
    earlier = described(folder / spec.name)
    version = version or max(earlier, default=0) + 1
    if version in earlier and not replace:
        raise FileExistsError(f"{folder / spec.name} has a version {version} already; choose another, or replace it")
    network = plain(network)
    moved = rounding(network, spec)
    half = weights == "fp16" or (weights == "auto" and moved <= UNSEEN)
    exact = rounded(network) if half else network
    graph = to_onnx(exact, spec, half_weights=half)
    comparisons = compare(graph, exact, spec)
    data = graph.SerializeToString()
    model = Model(spec, version, hashlib.sha256(data).hexdigest(), golden_of(graph, spec))
    card = to_card(model, facts, len(data), sum(weight.numel() for weight in network.parameters()))
    path = write(folder, model, earlier, data, card, ONNX)
    return Release(path, model, "fp16" if half else "fp32", moved, tuple(comparisons), len(data))


def golden_of(graph: onnx.ModelProto, spec: ModelSpec) -> Golden:
    """The graph's own out_0 to the golden input, under ONNX Runtime on the CPU."""
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return Golden(session.run(["out_0"], golden_input(spec))[0], GOLDEN_TOLERANCE)


def described(path: Path) -> dict[int, Model]:
    """The versions in a model's folder whose directory is there and whose facts its config.pbtxt holds; none for a new model."""
    if not (path / CONFIG).is_file():
        return {}
    models = from_text((path / CONFIG).read_text(encoding="utf-8"))
    return {version: model for version, model in models.items() if (path / str(version)).is_dir()}


def write(folder: Path, model: Model, earlier: Mapping[int, Model], data: bytes, card: str, backend: Backend) -> Path:
    """Put one version into the repository. Everything is written beside its place first; then only renames remain."""
    path = folder / model.spec.name
    text = to_text([*{**earlier, model.version: model}.values()], backend)
    path.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=folder))
    try:
        (staging / "version").mkdir()
        (staging / "version" / backend.file).write_bytes(data)
        (staging / CONFIG).write_text(text, encoding="utf-8")
        (staging / CARD).write_text(card, encoding="utf-8")
        _move_in(staging, path, model.version)
    finally:
        shutil.rmtree(staging)
        if not any(path.iterdir()):
            path.rmdir()
    return path


def _move_in(staging: Path, path: Path, version: int) -> None:
    place = path / str(version)
    if place.exists():
        place.rename(staging / "replaced")
    try:
        (staging / "version").rename(place)
        (staging / CARD).replace(path / CARD)
        (staging / CONFIG).replace(path / CONFIG)
    except OSError:
        if (staging / "replaced").exists():
            shutil.rmtree(place, ignore_errors=True)
            (staging / "replaced").rename(place)
        raise
    _open_to_readers(path)


def _open_to_readers(path: Path) -> None:
    """mkdtemp makes private folders; servers read the repository as another user."""
    for directory, _, files in os.walk(path):
        Path(directory).chmod(0o755)
        for file in files:
            Path(directory, file).chmod(0o644)
