"""One version of a model as everybody outside the network knows it, and how that travels in Triton's `parameters`.

A golden answer is the network's own out_0 to one fixed input: an engine that no longer gives it is not ready.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rddm.condition import padded
from rddm.graph import to_feeds
from rddm.objective import times
from rddm.schedule import schedule_of
from rddm.spec import ModelSpec

GOLDEN_SIDE = 32
GOLDEN_SEED = 2**63 - 1


@dataclass(frozen=True, eq=False)
class Golden:
    """out_0 of `golden_input`, (1 3 s s), and the largest deviation from it that an engine may show."""

    answer: NDArray[np.float32]
    tolerance: float

    def deviation(self, answer: NDArray[Any]) -> float:
        """max|a - b| / (1 + max|b|); infinite for an answer that is not finite or has another shape."""
        if answer.shape != self.answer.shape or not np.isfinite(answer).all():
            return float("inf")
        return float(np.abs(answer - self.answer).max() / (1 + np.abs(self.answer).max()))


class Weights(NamedTuple):
    """Which weights: a version that was exported anew under its number has another digest, and is another one."""

    name: str
    version: int
    digest: str


@dataclass(frozen=True, eq=False)
class Model:
    """The spec, the version's number, SHA-256 of the model file, and the golden answer."""

    spec: ModelSpec
    version: int
    digest: str
    golden: Golden

    @cached_property
    def weights(self) -> Weights:
        """What tells this version from every other one."""
        return Weights(self.spec.name, self.version, self.digest)


def golden_input(spec: ModelSpec, side: int = GOLDEN_SIDE) -> dict[str, NDArray[np.float32]]:
    """The graph's inputs by name: `x_t` (1 3 s s), `condition` (1 c s s) where the spec lists one, `time` (1 2).

    s is `side`, or the next multiple of the spec's size multiple. Pixels are Philox's, uniform in [-1, 1]; the time is the middle
    index.
    """
    height, width = _golden_shape(spec, side)[2:]
    generator = np.random.Generator(np.random.Philox(key=GOLDEN_SEED))
    pixels = generator.random((1, 3 + spec.condition_channels, height, width), dtype=np.float32) * 2 - 1
    middle = times(spec, schedule_of(spec), spec.timesteps // 2)
    condition = pixels[:, 3:] if spec.condition_channels else None
    feeds = to_feeds(pixels[:, :3], condition, np.asarray([middle]))
    return {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in feeds.items()}


def _golden_shape(spec: ModelSpec, side: int = GOLDEN_SIDE) -> tuple[int, int, int, int]:
    side = padded(side, spec.size_multiple)
    return 1, 3, side, side


def to_parameters(model: Model) -> dict[str, str]:
    """The model as text, each key ending in the version: one config.pbtxt describes all versions that lie beside it."""
    answer = base64.b64encode(model.golden.answer.astype("<f4").tobytes()).decode("ascii")
    facts = {
        "spec": model.spec.model_dump_json(),
        "digest": model.digest,
        "golden": answer,
        "tolerance": repr(model.golden.tolerance),
    }
    return {f"{key}.{model.version}": value for key, value in facts.items()}


def from_parameters(parameters: Mapping[str, str]) -> dict[int, Model]:
    """The models by version. Parameters that belong to nobody here are left alone.

    Raises ValueError where a version that has a spec lacks one of the other facts, or one of them cannot be read.
    """
    versions = [int(key.removeprefix("spec.")) for key in parameters if key.startswith("spec.")]
    return {version: _model(parameters, version) for version in sorted(versions)}


def _model(parameters: Mapping[str, str], version: int) -> Model:
    missing = [key for key in ("digest", "golden", "tolerance") if f"{key}.{version}" not in parameters]
    if missing:
        raise ValueError(f"version {version} has a spec but no {missing}")
    spec = ModelSpec.model_validate_json(parameters[f"spec.{version}"])
    answer = np.frombuffer(base64.b64decode(parameters[f"golden.{version}"], validate=True), dtype="<f4")
    golden = Golden(answer.astype(np.float32).reshape(_golden_shape(spec)), float(parameters[f"tolerance.{version}"]))
    return Model(spec, version, parameters[f"digest.{version}"], golden)
