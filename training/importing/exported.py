"""A model that this project exported becomes a checkpoint again, to be trained further.

The graph holds every weight under its name in the network. What an export lays out anew is laid back: the kernel of the first
layer, the channels of the layers that enlarge, and the exposure, which lies in the spec. Large weights are stored as fp16, so
those of the run itself differ by their rounding. The network's configuration is read off the weights' shapes.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from google.protobuf.message import DecodeError
from onnx import TensorProto, numpy_helper
from torch import Tensor

import rddm.exposure
from rddm.graph import CONDITION, FILE, SPEC_KEY, TIME, X_T, input_shapes
from rddm.objective import HEADS
from rddm.spec import ConditionPart, ModelSpec
from training.checkpoint import Checkpoint, newest_graph
from training.networks import SmallConfig
from training.networks.small import Small, off_pixels, plain_order

PREFIX, HALF = "network.", ".fp16"
TOLERANCE = 1e-4  # max|a - b| / (1 + max|b|), as at export


def is_exported(source: Path) -> bool:
    """Whether this is a model's folder in a repository, or a graph with a spec."""
    if source.is_dir():
        return any(source.glob(f"*/{FILE}"))
    if source.suffix.lower() != ".onnx" or not source.is_file():
        return False
    try:
        return _spec_text(onnx.load(source, load_external_data=False)) is not None
    except DecodeError:  # told by what reads networks of one pass
        return False


def convert_exported(source: Path, changes: Mapping[str, str] | None = None) -> Checkpoint:
    """The checkpoint whose export this is: spec, configuration and weights. changes: of the spec (name, task, licence).

    Raises FileNotFoundError, or ValueError for a graph that is not an export of the small network, or that answers otherwise.
    """
    path = source if source.is_file() else newest_graph(source)
    if path is None:
        raise FileNotFoundError(f"{source} holds no {FILE} of any version")
    model = onnx.load(path)
    text = _spec_text(model)
    if text is None:
        raise ValueError(f"{path} has no spec: it is no export of this project")
    served = ModelSpec.model_validate_json(text)
    weights = dict(_laid_back(dict(_weights(model))))
    if "door.weight" not in weights:
        raise ValueError(f"{path} does not hold the small network, the only one that can be taken back")
    weights |= _exposure(served)
    spec = _spec_of_training(served, changes or {})
    for config in _configurations(spec, weights):
        network = Small(config)
        own = {name: weights[name] for name in network.state_dict() if name in weights}  # a constant may be stored beside them
        try:
            network.load_state_dict(own)
        except RuntimeError:  # another number of weights, or of other shapes
            continue
        if _deviation(model, network.eval(), spec) <= TOLERANCE:
            return Checkpoint(spec, config, own, facts_of(path))
    raise ValueError(f"the weights of {path} do not make a network that answers as it does; was it made by another version?")


def facts_of(path: Path) -> dict[str, Any]:
    """Where the weights come from, for the card."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    of_export = {"variant": f"version {path.parent.name}", "weights": "large ones rounded to fp16, as exports store them"}
    return {"imported": {"file": path.name, "sha256": digest} | of_export}


def _spec_text(model: onnx.ModelProto) -> str | None:
    return next((entry.value for entry in model.metadata_props if entry.key == SPEC_KEY), None)


def _weights(model: onnx.ModelProto) -> Iterator[tuple[str, Tensor]]:
    """The network's own weights by name, float32."""
    for tensor in model.graph.initializer:
        if tensor.name.startswith(PREFIX) and tensor.data_type in {TensorProto.FLOAT, TensorProto.FLOAT16}:
            name = tensor.name.removeprefix(PREFIX).removesuffix(HALF)
            yield name, torch.from_numpy(numpy_helper.to_array(tensor).astype(np.float32))


def _laid_back(weights: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    pieces = [name for name in weights if re.fullmatch(r"door\.pieces\.\d+", name)]
    if pieces:
        yield "door.weight", off_pixels(torch.cat([weights[name] for name in sorted(pieces)], 1))
    for name, value in weights.items():
        enlarging = re.fullmatch(r"(up\.\d+)\.conv\.(weight|bias)", name)
        if enlarging:
            yield f"{enlarging[1]}.{enlarging[2]}", value[plain_order(len(value)).argsort()]
        elif name not in pieces:
            yield name, value


def _exposure(spec: ModelSpec) -> dict[str, Tensor]:
    """The weights of the exposure, which an export writes into the spec."""
    if spec.exposure is None:
        return {}
    learned = rddm.exposure.Exposure.from_text(spec.exposure)
    layers = {"trunk.0": learned.first, "trunk.2": learned.second, "curve": learned.curve}
    if spec.brightness is not None:
        guess = rddm.exposure.Brightness.from_text(spec.brightness)
        layers |= {"guess.0": guess.first, "guess.2": guess.second}
    return {
        f"exposure.{name}.{kind}": torch.from_numpy(values.copy())
        for name, layer in layers.items()
        for kind, values in zip(("weight", "bias"), layer, strict=True)
    }


def _spec_of_training(spec: ModelSpec, changes: Mapping[str, str]) -> ModelSpec:
    """The spec before `Small.served`: the exposure is the network's, which sees the context."""
    facts = spec.model_dump()
    if spec.exposure is not None:
        given: list[ConditionPart] = [part for part in spec.condition if part not in {"exposed", "code"}]
        given += ["context"] if spec.brightness is None else ["context", "brightness"]
        facts |= {"condition": given, "exposure": None, "brightness": None}
    return ModelSpec.model_validate(facts | dict(changes))


def _configurations(spec: ModelSpec, weights: Mapping[str, Tensor]) -> Iterator[SmallConfig]:
    """What the network may be: whether it fills what a mask hides, no weight tells."""
    levels = len({name.split(".")[1] for name in weights if name.startswith("up.")}) + 1
    blocks = [{name.split(".")[2] for name in weights if name.startswith(f"encode.{level}.")} for level in range(levels)]
    widths = [len(weights["door.bias"]), *(len(weights[f"down.{level}.bias"]) for level in range(levels - 1))]
    config = SmallConfig(
        condition=spec.condition,
        outputs=len(HEADS[spec.objective]),
        widths=tuple(widths),
        depths=tuple(map(len, blocks)),
        time_width=len(weights["time.layers.0.bias"]),
        exposure="exposure.curve.weight" in weights,
        brightness="exposure.guess.0.weight" in weights,
        levels="levels.curve.weight" in weights,
    )
    yield config
    if "mask" in spec.condition:
        yield config.model_copy(update={"fill": True})


def _deviation(model: onnx.ModelProto, network: Small, spec: ModelSpec) -> float:
    """How far the network's answers to noise are from the graph's."""
    reduced, as_served = network.served(spec)
    generator = np.random.default_rng(3)
    shapes = input_shapes(as_served, 2, 2 * spec.size_multiple, 3 * spec.size_multiple)
    given = {name: generator.uniform(-1, 1, shape).astype(np.float32) for name, shape in shapes.items()}
    given[TIME] = (given[TIME] + 1) / 2 * spec.timesteps
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(None, given)
    with torch.no_grad():
        tensors = {name: torch.from_numpy(values) for name, values in given.items()}
        actual = reduced(tensors[X_T], tensors.get(CONDITION), tensors[TIME])
    return max(float(np.abs(a.numpy() - b).max() / (1 + np.abs(b).max())) for a, b in zip(actual, expected, strict=True))
