"""An image-to-image network of one pass (NAFNet, FFDNet, Real-ESRGAN, ...) as a model of one step: x_0 is its answer.

The network keeps its graph; nodes before and after it turn images in [-1, 1] into what it was trained on, and its answer back.
What the file does not tell (value range, whether the answer is the picture or what is to be removed) is asked for or probed.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.capi import onnxruntime_pybind11_state as state

from rddm.condition import padded
from rddm.graph import OUTPUTS, TIME, X_T
from rddm.spec import Curve, ModelSpec, NamedSchedule

Range = Literal["0..1", "-1..1", "0..255"]
Order = Literal["rgb", "bgr"]
Answer = Literal["image", "residual", "correction"]
Array = NDArray[Any]

# value = image * factor + shift, for an image in [-1, 1]
RANGES: dict[Range, tuple[float, float]] = {"0..1": (0.5, 0.5), "-1..1": (1.0, 0.0), "0..255": (127.5, 127.5)}
MULTIPLES = (1, 2, 4, 8, 16, 32, 64)
SCALES = (1, 2, 3, 4, 8)
INNER = "network/"
# What ONNX Runtime raises for a size that a network does not take.
REFUSALS = (state.Fail, state.InvalidArgument, state.RuntimeException, state.NotImplemented, RuntimeError, ValueError)
NOISE = 0.1  # of the probe, whose values are in [-1, 1]
NEAR, CLEARLY = 0.35, 1.5  # a probed reading's error, relative to the picture's contrast, and how much worse the next must be
IR_VERSION = 10
REACH, MOST_PIXELS = 32, 512 * 512  # of a network that is not known


@dataclass(frozen=True)
class OnePass:
    """How a network is fed and read. image, answer: names of its input and output; constants: values of its other inputs.

    multiple: sides that it takes are multiples of it; side: the only one that it takes, or None; scale: how much it enlarges.
    probed: the facts that come from calls of it.
    """

    image: str
    output: str
    range: Range
    order: Order
    answer: Answer
    multiple: int
    side: int | None
    scale: int
    constants: Mapping[str, float]
    probed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stated:
    """What the caller says of the network; None is probed (order: rgb)."""

    range: Range | None = None
    order: Order | None = None
    answer: Answer | None = None
    constants: Mapping[str, float] | None = None


def read_network(path: Path) -> onnx.ModelProto:
    """The graph of an .onnx file, or of a torch.export program (.pt2).

    Raises FileNotFoundError, or ValueError for a file that is neither.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    if path.suffix.lower() == ".pt2":
        from training.importing.programs import to_onnx  # noqa: PLC0415  torch's exporter takes seconds to import

        return to_onnx(path)
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError, OSError, RuntimeError) as error:
        raise ValueError(f"{path} is no ONNX graph that can be read: {str(error).splitlines()[0]}") from error
    except Exception as error:  # protobuf's DecodeError, whose home differs between its implementations
        if type(error).__name__ != "DecodeError":
            raise
        raise ValueError(f"{path} is no ONNX graph: {error}") from error
    return model


def understand(model: onnx.ModelProto, stated: Stated) -> OnePass:
    """What the graph says, what was stated, and what probing shows. Raises ValueError naming what must be stated."""
    image, others = _inputs(model)
    constants = dict(stated.constants or {})
    _check_constants(others, constants)
    if len(model.graph.output) != 1:
        names = [value.name for value in model.graph.output]
        raise ValueError(f"the network has the outputs {names}; expected one picture")
    draft = OnePass(
        image,
        model.graph.output[0].name,
        stated.range or "0..1",
        stated.order or "rgb",
        stated.answer or "image",
        1,
        None,
        1,
        constants,
    )
    network = _Network(relaxed(model), draft)
    draft = replace(draft, **_sizes(network, _declared_side(model, image)))
    return _read_values(_Network(relaxed(model), draft), stated)


def _inputs(model: onnx.ModelProto) -> tuple[str, dict[str, onnx.ValueInfoProto]]:
    """The picture's input, b 3 h w float, and the others by name."""
    weights = {tensor.name for tensor in model.graph.initializer}
    free = {value.name: value for value in model.graph.input if value.name not in weights}
    pictures = [name for name, value in free.items() if _is_picture(value)]
    if len(pictures) != 1:
        shown = {name: _dims(value) for name, value in free.items()}
        raise ValueError(f"the network has the inputs {shown}; expected one picture b 3 h w of floats")
    return pictures[0], {name: value for name, value in free.items() if name != pictures[0]}


def _is_picture(value: onnx.ValueInfoProto) -> bool:
    dims, kind = _dims(value), value.type.tensor_type.elem_type
    return len(dims) == 4 and dims[1] == 3 and kind in (TensorProto.FLOAT, TensorProto.FLOAT16)


def _dims(value: onnx.ValueInfoProto) -> list[int | str]:
    return [dim.dim_value or dim.dim_param for dim in value.type.tensor_type.shape.dim]


def _declared_side(model: onnx.ModelProto, image: str) -> int | None:
    """The side that the graph declares, where it declares one, for a network that turns out to take no other."""
    [value] = [value for value in model.graph.input if value.name == image]
    height, width = _dims(value)[2:]
    if not (isinstance(height, int) and isinstance(width, int) and height and width):
        return None
    if height != width:
        raise ValueError(f"the network takes pictures of {width}x{height} alone; only square ones, or any size, can be served")
    return height


def _check_constants(others: Mapping[str, onnx.ValueInfoProto], constants: Mapping[str, float]) -> None:
    missing, unknown = sorted(set(others) - set(constants)), sorted(set(constants) - set(others))
    if missing:
        raise ValueError(
            f"the network has further inputs {missing}; give each a value: "
            + " ".join(f"--constant {name}=0.1" for name in missing)
        )
    if unknown:
        raise ValueError(f"the network has no input {unknown}; its further inputs are {sorted(others)}")


def relaxed(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose declared batch, heights and widths are free; whether it takes others is seen by asking it."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.value_info[:]
    for value in (*copy.graph.input, *copy.graph.output):
        dims = value.type.tensor_type.shape.dim
        for place, dim in enumerate(dims):
            if len(dims) == 4 and place != 1:
                dim.Clear()
                dim.dim_param = f"{value.name}.{place}"
    return copy


class _Network:
    """The network under ONNX Runtime, asked with images in [-1, 1]."""

    def __init__(self, model: onnx.ModelProto, facts: OnePass) -> None:
        self.facts = facts
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # sizes that it does not take are tried on purpose
        self._session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        self._kinds = {value.name: np.float16 if "float16" in value.type else np.float32 for value in self._session.get_inputs()}
        self._dims = {value.name: value.shape for value in self._session.get_inputs()}

    def raw(self, values: Array) -> Array:
        """The network's own answer to values in its own range, b 3 h w."""
        feeds = {self.facts.image: values.astype(self._kinds[self.facts.image])}
        for name, constant in self.facts.constants.items():
            shape = [
                len(values) if place == 0 else size if isinstance(size, int) else 1 for place, size in enumerate(self._dims[name])
            ]
            feeds[name] = np.full(shape, constant, self._kinds[name])
        answer: Array = self._session.run([self.facts.output], feeds)[0]
        return answer.astype(np.float32)

    def answers(self, batch: int, height: int, width: int) -> tuple[int, ...] | None:
        """The shape of its answer to a picture of this size; None where it takes none."""
        try:
            return self.raw(np.full((batch, 3, height, width), 0.5, np.float32)).shape
        except REFUSALS:
            return None


def _sizes(network: _Network, declared: int | None) -> dict[str, int | None]:
    """multiple, side and scale, by asking for pictures of several sizes. Raises ValueError for a network that takes no batch."""
    for multiple in MULTIPLES:
        shapes = [(1, 3 * multiple, 5 * multiple), (2, 4 * multiple, 3 * multiple), (1, 7 * multiple, 3 * multiple)]
        scales = {_scale(network.answers(*shape), shape) for shape in shapes}
        if len(scales) == 1 and (scale := scales.pop()) is not None:
            return {"multiple": multiple, "side": None, "scale": scale}
    if declared is not None and (scale := _scale(network.answers(2, declared, declared), (2, declared, declared))) is not None:
        return {"multiple": declared, "side": declared, "scale": scale}
    if declared is not None and network.answers(1, declared, declared) is not None:
        raise ValueError("the network takes one picture at a time; export it with a free batch axis")
    raise ValueError(
        f"the network answers none of the sizes tried (multiples of {list(MULTIPLES)}) with a picture enlarged {list(SCALES)} times"
    )


def _scale(answer: tuple[int, ...] | None, shape: tuple[int, int, int]) -> int | None:
    batch, height, width = shape
    return next((scale for scale in SCALES if answer == (batch, 3, height * scale, width * scale)), None)


def _read_values(network: _Network, stated: Stated) -> OnePass:
    """Of the value range and the kind of answer what was not stated: the reading that takes most noise off a picture."""
    facts = network.facts
    if stated.range is not None and stated.answer is not None:
        return facts
    errors = {(r, a): _error(network, r, a) for r, a in _readings(stated, facts.scale)}
    ranked = sorted(errors, key=lambda reading: errors[reading])
    best, others = ranked[0], ranked[1:]
    if errors[best] > NEAR or any(errors[other] < CLEARLY * errors[best] for other in others):
        shown = ", ".join(f"{r} with {a} {errors[r, a]:.2f}" for r, a in ranked[:4])
        options = [option for option, value in (("--range", stated.range), ("--answer", stated.answer)) if value is None]
        raise ValueError(
            f"{' and '.join(options)} must be said: probing does not tell (error of a picture with a little noise: {shown})"
        )
    names = [name for name, value in (("range", stated.range), ("answer", stated.answer)) if value is None]
    return replace(facts, range=best[0], answer=best[1], probed=tuple(names))


def _readings(stated: Stated, scale: int) -> Iterator[tuple[Range, Answer]]:
    for value_range in [stated.range] if stated.range else get_args(Range):
        for answer in [stated.answer] if stated.answer else get_args(Answer) if scale == 1 else ["image"]:
            yield value_range, answer


def _error(network: _Network, value_range: Range, answer: Answer) -> float:
    """How far x_0 is from a picture that was given with noise, relative to the picture's deviation; infinite if not finite."""
    side = network.facts.side or 64 * -(-network.facts.multiple // 64)
    picture, noise = clean_picture(side), np.random.default_rng(0).normal(0, NOISE, (1, 3, side, side))
    factor, shift = RANGES[value_range]
    values, clean = (((picture + added) * factor + shift).astype(np.float32) for added in (noise, 0))
    answered = network.raw(values)
    x_0 = {"image": answered, "residual": values, "correction": values}[answer]
    if answer != "image":
        x_0 = values - answered if answer == "residual" else values + answered
    wanted = np.repeat(np.repeat(clean, network.facts.scale, 2), network.facts.scale, 3)
    error = float(np.sqrt(np.mean((x_0 - wanted) ** 2)) / clean.std())
    return error if np.isfinite(error) else float("inf")


def clean_picture(side: int) -> Array:
    """A smooth picture with edges and colours, 1 3 side side in [-1, 1]."""
    y, x = np.mgrid[0:side, 0:side] / side
    planes = [0.9 * np.sin(5 * x + 2 * y), 0.8 * np.cos(4 * y - 3 * x), 1.2 * (x + y) / 2 - 0.6]
    disc = ((x - 0.5) ** 2 + (y - 0.4) ** 2 < 0.06)[None]
    return np.where(disc, np.array([0.7, -0.5, 0.2])[:, None, None], np.array(planes))[None].clip(-1, 1).astype(np.float32)


def spec_of(facts: OnePass, name: str, task: str, licence: str) -> ModelSpec:
    """One index, one step, no noise: x_T is the picture, x_0 the network's answer."""
    multiple = facts.multiple * facts.scale
    side = facts.side and facts.side * facts.scale
    return ModelSpec(
        name=name,
        task=task,
        licence=licence,
        condition=(),
        objective="pred_x0",
        timesteps=1,
        schedule=NamedSchedule(alpha=Curve(name="average"), beta2=Curve(name="average"), sum_scale=0),
        residual_clip=None,
        image_clip=None,
        **{"default_steps": 1, "min_steps": 1, "max_steps": 1},
        size_multiple=multiple,
        reach=0 if side else REACH,
        most_pixels=None if side else max(MOST_PIXELS, (2 * padded(REACH, multiple)) ** 2),
        sizes=((side, side),) if side else (),
        preprocessing=() if facts.scale == 1 else (f"repeat_{facts.scale}",),
    )


def wrapped(model: onnx.ModelProto, facts: OnePass) -> onnx.ModelProto:
    """The network as the house's graph: x_t (b 3 h w in [-1, 1]) and time (b 2, unused) in, out_0 (b 3 h w) out."""
    inner = _prefixed(relaxed(model))
    kinds = {value.name: value.type.tensor_type.elem_type for value in (*inner.graph.input, *inner.graph.output)}
    nodes, constants = _Nodes(), _constant_inputs(inner, facts)
    values = nodes.before(facts, kinds[INNER + facts.image])
    nodes.add("Identity", [values], INNER + facts.image)
    nodes.list += [*constants, *inner.graph.node]
    nodes.after(facts, values, INNER + facts.output)
    graph = helper.make_graph(
        nodes.list,
        "one_pass",
        [_value(X_T, ["b", 3, "h", "w"]), _value(TIME, ["b", 2])],
        [_value(OUTPUTS[0], ["b", 3, "h", "w"])],
        [*inner.graph.initializer, *nodes.tensors],
    )
    whole = helper.make_model(graph, opset_imports=inner.opset_import, functions=inner.functions)
    whole.ir_version = min(max(inner.ir_version, 4), IR_VERSION)
    onnx.checker.check_model(whole)
    return whole


def _value(name: str, dims: list[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)


def _prefixed(model: onnx.ModelProto) -> onnx.ModelProto:
    """Every name of the network under one prefix, so that none is the house's."""
    from onnx.compose import add_prefix  # noqa: PLC0415  only this function needs it

    return add_prefix(model, INNER)


def _constant_inputs(inner: onnx.ModelProto, facts: OnePass) -> list[onnx.NodeProto]:
    """Nodes that make the network's further inputs, one row a picture: Expand(constant, [b, ...])."""
    nodes = [
        helper.make_node("Shape", [X_T], [f"{X_T}.shape"]),
        helper.make_node("Gather", [f"{X_T}.shape", "first"], [f"{X_T}.batch"]),
    ]
    for value in inner.graph.input:
        name = value.name.removeprefix(INNER)
        if name not in facts.constants:
            continue
        kind = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        rest = [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim][1:]
        for key, array in (
            (f"{name}.value", np.full([1, *rest], facts.constants[name], kind)),
            (f"{name}.rest", np.array(rest, np.int64)),
        ):
            inner.graph.initializer.append(numpy_helper.from_array(array, key))
        nodes.append(helper.make_node("Concat", [f"{X_T}.batch", f"{name}.rest"], [f"{name}.shape"], axis=0))
        nodes.append(helper.make_node("Expand", [f"{name}.value", f"{name}.shape"], [value.name]))
    if len(nodes) == 2:
        return []
    inner.graph.initializer.append(numpy_helper.from_array(np.array([0], np.int64), "first"))
    return nodes


class _Nodes:
    """The nodes before and after the network, and the constants that they need."""

    def __init__(self) -> None:
        self.list: list[onnx.NodeProto] = []
        self.tensors: list[TensorProto] = []

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.list.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, name: str, value: Array) -> str:
        if all(tensor.name != name for tensor in self.tensors):
            self.tensors.append(numpy_helper.from_array(value, name))
        return name

    def before(self, facts: OnePass, kind: int) -> str:
        """From x_t to the network's values, the name of which is returned."""
        value, (factor, shift) = X_T, RANGES[facts.range]
        if facts.scale > 1:
            value = self._subsampled(facts.scale)
        if factor != 1:
            value = self.add("Mul", [value, self.constant("factor", np.float32(factor))], "x_t.scaled")
            value = self.add("Add", [value, self.constant("shift", np.float32(shift))], "x_t.shifted")
        value = self._reordered(facts, value, "x_t.ordered")
        return value if kind == TensorProto.FLOAT else self.add("Cast", [value], "x_t.cast", to=kind)

    def _subsampled(self, scale: int) -> str:
        """Every scale-th pixel: the picture before it was enlarged by repetition."""
        for name, values in (("starts", [0, 0]), ("ends", [2**31 - 1] * 2), ("axes", [2, 3]), ("strides", [scale] * 2)):
            self.constant(name, np.array(values, np.int64))
        return self.add("Slice", [X_T, "starts", "ends", "axes", "strides"], f"{X_T}.small")

    def _reordered(self, facts: OnePass, value: str, output: str) -> str:
        if facts.order == "rgb":
            return value
        return self.add("Gather", [value, self.constant("bgr", np.array([2, 1, 0], np.int64))], output, axis=1)

    def after(self, facts: OnePass, values: str, answer: str) -> None:
        """From the network's answer to out_0, by Sub and Div: ONNX Runtime would fold Mul and Add into a convolution."""
        (factor, shift) = RANGES[facts.range]
        if facts.answer != "image":
            answer = self.add("Sub" if facts.answer == "residual" else "Add", [values, answer], "answer.combined")
        answer = self.add("Cast", [answer], "answer.float", to=TensorProto.FLOAT)
        answer = self._reordered(facts, answer, "answer.ordered")
        if factor != 1:
            answer = self.add("Sub", [answer, self.constant("shift", np.float32(shift))], "answer.shifted")
            answer = self.add("Div", [answer, self.constant("factor", np.float32(factor))], "answer.scaled")
        self.add("Identity", [answer], OUTPUTS[0])


def facts_of(path: Path, facts: OnePass) -> dict[str, Any]:
    """What the card says of the network."""
    shown = {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "variant": "one pass",
        "value range": facts.range,
        "channel order": facts.order,
        "answer": facts.answer,
        "sides": f"{facts.side} only" if facts.side else f"multiples of {facts.multiple}",
        "enlarges": facts.scale,
        "further inputs": [f"{name} = {value:g}" for name, value in facts.constants.items()],
        "probed": [*facts.probed, "sides"],
    }
    return {"imported": {key: value for key, value in shown.items() if value != []}}
