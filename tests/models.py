"""Models for the tests: as small as a network can be, untrained, deterministic, and exported once per run."""

from pathlib import Path

import torch

from export.release import Release, release
from rddm.spec import ModelSpec
from training.network import SmallConfig, make_network


def tiny_spec(name: str = "tiny", **changes: object) -> ModelSpec:
    """A restoration model for tiles of 32."""
    facts = {
        "name": name,
        "task": "denoise",
        "licence": "Apache-2.0",
        "size_multiple": 4,
        "tile": 32,
        "overlap": 8,
        "whole_max": 64 * 64,
        "default_steps": 2,
        "max_steps": 5,
    }
    return ModelSpec.model_validate({**facts, **changes})


def tiny_network(spec: ModelSpec, seed: int = 0) -> torch.nn.Module:
    """A network that answers differently everywhere: every weight is drawn, none is zero."""
    outputs = 2 if "_noise" in spec.objective and spec.objective != "pred_noise" else 1
    network = make_network(SmallConfig(condition=spec.condition, outputs=outputs, widths=(8, 8), depths=(1, 1)))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.1)
    return network.eval()


def release_tiny(folder: Path, spec: ModelSpec | None = None, seed: int = 0, **options: object) -> Release:
    """Export a tiny network into the folder."""
    spec = spec or tiny_spec()
    return release(tiny_network(spec, seed), spec, {"recipe": "untrained"}, folder, **options)  # type: ignore[arg-type]
