"""A model repository of ONNX graphs -> a second one of TensorRT plans, for one GPU and one version of TensorRT.

It runs where the plans will run, inside the Triton container, and needs no torch. Names and golden answers stay; so does the spec,
but for the sizes of tiles, because a plan is built for shapes and not for any shape: `ladder` chooses them. A folder named after
GPU and TensorRT holds the repository once all of it is built.
"""

import hashlib
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from export.card import to_card
from export.configuration import Backend
from export.precision import Precision, embedded_weights, lowered
from export.repository import CARD, described, write
from rddm.condition import padded, restore_whole
from rddm.graph import BATCH_SIZES, FILE, X_T, Feeds, GraphCall, input_shapes, output_names
from rddm.model import Golden, Model, golden_input
from rddm.repository import CONFIG
from rddm.spec import ModelSpec
from rddm.tiling import most_pixels

PLAN = Backend("tensorrt", "model.plan", BATCH_SIZES, tuple(map(str, range(len(BATCH_SIZES) + 1))))
LADDER = (256, 768)  # sides of the tiles of a plan; a smaller picture grows to the first, or to twice the overlap
CANDIDATES: tuple[Precision, ...] = ("fp32", "bf16", "fp16")
# A plan's restored picture must agree with float32's to so many dB (peak 2): what a restoration of 35 dB then loses is 0.04 dB.
AGREEMENT_DB = 55.0
BUILT = "built.json"
PROGRAMS = ("trtexec", "/usr/src/tensorrt/bin/trtexec", "/opt/tensorrt/bin/trtexec")

Image = NDArray[np.float32]


class BuildFailed(RuntimeError):
    """trtexec failed, or is not there; the message holds the end of what it said."""


@dataclass(frozen=True)
class Choice:
    """What was measured of a precision. agreement: dB of the restored picture against float32; milliseconds: a call of one tile."""

    precision: Precision
    agreement: float
    milliseconds: float
    plan: bytes
    deviation: float


class Trtexec:
    """The command line of TensorRT's own builder and runner."""

    def __init__(self, program: str) -> None:
        self.program = program

    @classmethod
    def find(cls) -> "Trtexec":
        """The one on the PATH or where NVIDIA's images have it. Raises BuildFailed naming where it was looked for."""
        for program in PROGRAMS:
            if shutil.which(program):
                return cls(program)
        raise BuildFailed(f"trtexec is not here (looked for {', '.join(PROGRAMS)}); run this inside the Triton container")

    def call(self, *arguments: str) -> str:
        """What it printed. Raises BuildFailed."""
        done = subprocess.run([self.program, *arguments], capture_output=True, text=True, check=False)  # noqa: S603  our own words
        if done.returncode:
            raise BuildFailed(f"trtexec {' '.join(arguments)} ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")
        return done.stdout

    def version(self) -> str:
        """`11.2.0` from the banner `[TensorRT v110200]`. Raises BuildFailed for a banner without one."""
        match = re.search(r"\[TensorRT v(\d+)(\d\d)(\d\d)\]", self.call("--help"))
        if match is None:
            raise BuildFailed("trtexec does not tell its version")
        return ".".join(str(int(part)) for part in match.groups())

    def build(self, graph: Path, plan: Path, spec: ModelSpec) -> None:
        """A plan with the profiles of `to_profiles`. Raises BuildFailed."""
        self.call(f"--onnx={graph}", f"--saveEngine={plan}", "--stronglyTyped", "--skipInference", *to_profiles(spec))

    def infer(self, plan: Path, feeds: Feeds, spec: ModelSpec, folder: Path) -> tuple[tuple[Image, ...], float]:
        """The outputs, and the median milliseconds of the computation. Raises BuildFailed."""
        for name, array in feeds.items():
            (folder / name).write_bytes(np.ascontiguousarray(array, "<f4").tobytes())
        said = self.call(
            f"--loadEngine={plan}",
            f"--useProfile={BATCH_SIZES.index(len(feeds[X_T]))}",
            f"--shapes={','.join(f'{name}:{_by(array.shape)}' for name, array in feeds.items())}",
            f"--loadInputs={','.join(f'{name}:{folder / name}' for name in feeds)}",
            f"--exportOutput={folder / 'outputs.json'}",
        )
        values = {entry["name"]: entry["values"] for entry in json.loads((folder / "outputs.json").read_text())}
        answers = tuple(np.asarray(values[name], np.float32).reshape(feeds[X_T].shape) for name in output_names(spec))
        return answers, to_milliseconds(said)


def to_milliseconds(said: str) -> float:
    """The median of trtexec's line on GPU Compute Time. Raises BuildFailed where there is none."""
    match = re.search(r"GPU Compute Time:.*median = ([\d.]+) ms", said)
    if match is None:
        raise BuildFailed("trtexec does not tell how long the computation took")
    return float(match.group(1))


def fixed(spec: ModelSpec) -> ModelSpec:
    """The spec of a plan: every picture in tiles of the ladder; a generated picture has one size already."""
    return spec if spec.image_size else ModelSpec.model_validate({**spec.model_dump(), "sizes": ladder(spec), "most_pixels": None})


def ladder(spec: ModelSpec) -> list[tuple[int, int]]:
    """Heights and widths that a plan is asked with, the smallest first: the file's own, or squares."""
    if spec.image_size or spec.sizes:
        return sorted(spec.sizes) or [spec.image_size or (0, 0)]
    least, largest = (padded(max(side, 2 * spec.overlap), spec.size_multiple) for side in LADDER)
    return [(side, side) for side in dict.fromkeys((least, largest)) if side == least or side**2 <= most_pixels(spec)]


def sides(spec: ModelSpec) -> tuple[int, int]:
    """Height and width of what a plan is asked most: the ladder's first."""
    return ladder(spec)[0]


def to_profiles(spec: ModelSpec) -> list[str]:
    """trtexec's arguments: profile k takes batches over the one before it up to BATCH_SIZES[k]; the first also the golden input.

    The last takes any batch of the ladder's largest tiles: several of these gain little from being one call.
    """
    arguments = []
    for index, batch in enumerate(BATCH_SIZES):
        smallest = golden_input(spec)[X_T].shape[2:] if index == 0 else sides(spec)
        least = (min(smallest[0], sides(spec)[0]), min(smallest[1], sides(spec)[1]))
        most = (max(smallest[0], sides(spec)[0]), max(smallest[1], sides(spec)[1]))
        fewest = BATCH_SIZES[index - 1] + 1 if index else 1
        arguments += [
            f"--profile={index}",
            f"--minShapes={to_shapes(spec, fewest, least)}",
            f"--optShapes={to_shapes(spec, batch, sides(spec))}",
            f"--maxShapes={to_shapes(spec, batch, most)}",
        ]
    largest = ladder(spec)[-1]
    return [
        *arguments,
        f"--profile={len(BATCH_SIZES)}",
        f"--minShapes={to_shapes(spec, 1, largest)}",
        f"--optShapes={to_shapes(spec, 1, largest)}",
        f"--maxShapes={to_shapes(spec, BATCH_SIZES[-1], largest)}",
    ]


def to_shapes(spec: ModelSpec, batch: int, size: tuple[int, int]) -> str:
    """`x_t:4x3x256x256,time:4x2` and so on for every input."""
    return ",".join(f"{name}:{_by(shape)}" for name, shape in input_shapes(spec, batch, *size).items())


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def gpu_name() -> str:
    """As the driver tells it. Raises BuildFailed where there is none."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError) as error:
        raise BuildFailed("there is no NVIDIA GPU here; plans are built on the GPU that runs them") from error
    return done.stdout.splitlines()[0]


def place(output: Path, gpu: str, version: str) -> Path:
    """`<output>/nvidia-h200-tensorrt-11.2.0`."""
    return output / f"{re.sub(r'[^a-z0-9]+', '-', gpu.lower()).strip('-')}-tensorrt-{version}"


def build_repository(
    source: Path, output: Path, trtexec: Trtexec, gpu: str, progress: Callable[[str], None] = lambda _: None
) -> Path:
    """Plans for every model of the source, unless they are there; returns their repository, which is there whole or not at all.

    Raises BuildFailed, and ValueError for a source that holds no model.
    """
    newest = newest_models(source)
    wanted = {model.spec.name: model.digest for model in newest.values()}
    folder = place(output, gpu, trtexec.version())
    if is_built(folder, wanted):
        return folder
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".building-", dir=output) as building:
        staging = Path(building) / "repository"
        staging.mkdir()
        for path, model in newest.items():
            progress(model.spec.name)
            build_model(path / str(model.version) / FILE, model, staging, trtexec, progress)
        (staging / BUILT).write_text(json.dumps(wanted, indent=2))
        if folder.exists():
            folder.rename(Path(building) / "replaced")
        staging.rename(folder)
    return folder


def newest_models(source: Path) -> dict[Path, Model]:
    """The newest version of every model in a repository, by folder. Raises ValueError for a folder that holds none."""
    models = {path.parent: described(path.parent) for path in sorted(source.glob(f"*/{CONFIG}"))}
    newest = {path: versions[max(versions)] for path, versions in models.items() if versions}
    if not newest:
        raise ValueError(f"{source} holds no exported model")
    return newest


def built(source: Path, output: Path, trtexec: Trtexec, gpu: str) -> Path:
    """The folder that `build_repository` made of the source. Raises BuildFailed where it is not there, or of other models."""
    folder = place(output, gpu, trtexec.version())
    if not is_built(folder, {model.spec.name: model.digest for model in newest_models(source).values()}):
        raise BuildFailed(f"{folder} does not hold plans of the models in {source}; run `rddm export --tensorrt` first")
    return folder


def is_built(folder: Path, wanted: Mapping[str, str]) -> bool:
    """Whether the folder holds plans of just these models, by name and digest of the graph."""
    return (folder / BUILT).is_file() and json.loads((folder / BUILT).read_text()) == wanted


def build_model(graph: Path, model: Model, staging: Path, trtexec: Trtexec, progress: Callable[[str], None]) -> Choice:
    """Build every precision, measure them, and write the fastest one that agrees with float32."""
    choices = []
    for precision in CANDIDATES:
        choices.append(build_choice(graph, model, precision, trtexec))
        progress(f"{model.spec.name} {precision}: {choices[-1].agreement:.1f} dB, {choices[-1].milliseconds:.3f} ms")
    chosen = choose(choices)
    spec, tolerance = fixed(model.spec), max(model.golden.tolerance, 4 * chosen.deviation)
    digest = hashlib.sha256(chosen.plan).hexdigest()
    planned = replace(model, spec=spec, digest=digest, golden=Golden(model.golden.answer, tolerance))
    facts = {"TensorRT": {one.precision: {"agreement in dB": one.agreement, "milliseconds": one.milliseconds} for one in choices}}
    parameters = sum(int(np.prod(tensor.dims)) for tensor in onnx.load(graph).graph.initializer)
    card = to_card(planned, {"built from": model.digest, "precision": chosen.precision, **facts}, len(chosen.plan), parameters)
    write(staging, planned, {}, chosen.plan, {CARD: card.encode()}, PLAN)
    return chosen


def choose(choices: Sequence[Choice]) -> Choice:
    """The fastest of those that agree with float32. Raises BuildFailed where not even fp32's plan does."""
    agreeing = [one for one in choices if one.agreement >= AGREEMENT_DB]
    if not agreeing:
        reached = {one.precision: round(one.agreement, 1) for one in choices}
        raise BuildFailed(f"no plan agrees with ONNX Runtime to {AGREEMENT_DB} dB: {reached}")
    return min(agreeing, key=lambda one: one.milliseconds)


def build_choice(graph: Path, model: Model, precision: Precision, trtexec: Trtexec) -> Choice:
    """Build one precision, restore a picture with it and with ONNX Runtime, and compare. Raises BuildFailed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        onnx.save(lowered(embedded_weights(onnx.load(graph)), precision), folder / FILE)
        trtexec.build(folder / FILE, folder / "model.plan", model.spec)
        times: list[float] = []

        def on_plan(feeds: Feeds) -> tuple[Image, ...]:
            answers, milliseconds = trtexec.infer(folder / "model.plan", feeds, model.spec, folder)
            times.append(milliseconds)
            return answers

        session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
        actual = restored(model.spec, on_plan)
        expected = restored(model.spec, lambda feeds: tuple(session.run(None, dict(feeds))))
        deviation = model.golden.deviation(on_plan(golden_input(model.spec))[0])
        milliseconds = float(np.median(times[:-1]))
        return Choice(precision, agreement(actual, expected), milliseconds, (folder / "model.plan").read_bytes(), deviation)


def agreement(actual: Image, expected: Image) -> float:
    """PSNR in dB with peak 2, the range of [-1, 1]; -inf for what is not finite."""
    error = float(np.mean((actual - expected) ** 2))
    if not np.isfinite(error):
        return float("-inf")
    return float(10 * np.log10(4 / max(error, 1e-20)))


def restored(spec: ModelSpec, network: GraphCall) -> Image:
    """x_0 of one tile after the default steps: a smooth picture with noise, dark in one corner, its whole area masked."""
    height, width = sides(spec)
    x_in = np.zeros((1, 3, height, width), np.float32) if spec.generates else scene(height, width)
    return restore_whole(network, spec, x_in, mask=np.ones_like(x_in))


def scene(height: int, width: int) -> Image:
    """A ramp of light with ripples and a little noise, 1 3 h w in [-1, 1]."""
    down, across = np.linspace(0, 1, height)[:, None], np.linspace(0, 1, width)[None, :]
    light = down * across * (1 + 0.3 * np.sin(20 * down) * np.sin(35 * across))
    colour = light[None] * np.asarray([1.0, 0.8, 0.6])[:, None, None]
    noisy = colour + 0.02 * np.random.default_rng(0).standard_normal(colour.shape)
    picture: Image = (noisy.clip(0, 1) * 2 - 1)[None].astype(np.float32)
    return picture
