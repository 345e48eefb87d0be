"""Models for the tests: as small as a network can be, untrained, deterministic, and traced once per run."""

from collections.abc import Callable
from pathlib import Path
from unittest import mock

import onnx
import torch

from export import release as released
from export.release import Release, release
from rddm.spec import ModelSpec
from training.networks import SmallConfig, make_network


def tiny_spec(name: str = "tiny", **changes: object) -> ModelSpec:
    """A restoration model for calls of up to 64x64."""
    facts = {
        "name": name,
        "task": "denoise",
        "licence": "Apache-2.0",
        "size_multiple": 4,
        "reach": 8,
        "most_pixels": 64 * 64,
        "default_steps": 2,
        "max_steps": 5,
    }
    return ModelSpec.model_validate({**facts, **changes})


def tiny_config(spec: ModelSpec) -> SmallConfig:
    """Two levels of one block each."""
    outputs = 2 if "_noise" in spec.objective and spec.objective != "pred_noise" else 1
    return SmallConfig(condition=spec.condition, outputs=outputs, widths=(8, 8), depths=(1, 1))


def tiny_network(spec: ModelSpec, seed: int = 0, config: SmallConfig | None = None) -> torch.nn.Module:
    """A network that answers differently everywhere: every weight is drawn, none is zero."""
    network = make_network(config or tiny_config(spec))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.1)
    return network.eval()


def release_tiny(folder: Path, spec: ModelSpec | None = None, seed: int = 0, **options: object) -> Release:
    """Export a tiny network into the folder."""
    spec = spec or tiny_spec()
    with mock.patch.object(released, "to_onnx", remembering(f"{seed} {spec.model_dump_json()}")):
        return release_traced(tiny_network(spec, seed), spec, folder, **options)


def release_traced(network: torch.nn.Module, spec: ModelSpec, folder: Path, **options: object) -> Release:
    """Export a small network, whose configuration decides every branch, by a trace: capturing it takes 6 s of CPU."""
    network.branchless = True  # type: ignore[assignment]
    return release(network, spec, {"recipe": "untrained"}, folder, **options)  # type: ignore[arg-type]


def remembering(key: str) -> Callable[..., onnx.ModelProto]:
    """torch's exporter, a quarter of a second, asked once for each network; nothing else of an export is remembered."""

    def to_onnx(network: torch.nn.Module, spec: ModelSpec, *, half_weights: bool) -> onnx.ModelProto:
        cache_key = f"{key} {half_weights}"
        if cache_key not in REMEMBERED:
            REMEMBERED[cache_key] = EXPORTER(network, spec, half_weights=half_weights)
        return REMEMBERED[cache_key]

    return to_onnx


EXPORTER = released.to_onnx
REMEMBERED: dict[str, onnx.ModelProto] = {}
