"""Checkpoints: a folder of model.safetensors (averaged weights), spec.json, network.json, facts.json; resume.safetensors beside.

Every file is written under a temporary name and renamed, so a checkpoint is either the old one or the new one, whole.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from rddm.graph import FILE
from rddm.repository import version_numbers
from rddm.spec import ModelSpec
from training.networks import AnyConfig, check_fits, make_network
from training.networks.config import NetworkConfig

WEIGHTS, SPEC, NETWORK, FACTS, RESUME = "model.safetensors", "spec.json", "network.json", "facts.json", "resume.safetensors"
GRAPH = FILE  # in place of weights and network, of an imported network of one pass
_NETWORK_CONFIG: TypeAdapter[AnyConfig] = TypeAdapter(NetworkConfig)


@dataclass(frozen=True)
class Checkpoint:
    """Weights with what is needed to use them. facts: free-form JSON for the model card (steps, hours, seed, recipe, figures)."""

    spec: ModelSpec
    network: AnyConfig
    weights: Mapping[str, Tensor]
    facts: Mapping[str, Any] = field(default_factory=dict)


def check_folder(folder: Path) -> None:
    """Raises ValueError for what cannot be a folder of results: a file, or a place below one."""
    there = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    if there.exists() and not there.is_dir():
        raise ValueError(f"{there} is a file; --output takes a folder")


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint to the folder, which is made if missing."""
    folder.mkdir(parents=True, exist_ok=True)
    save_tensors(folder / WEIGHTS, checkpoint.weights)
    write_text(folder / SPEC, checkpoint.spec.model_dump_json(indent=2))
    write_text(folder / NETWORK, checkpoint.network.model_dump_json(indent=2))
    write_text(folder / FACTS, json.dumps(dict(checkpoint.facts), indent=2))


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises FileNotFoundError naming the missing file, ValueError for weights that are cut short or where network and spec disagree.
    """
    for name in (WEIGHTS, SPEC, NETWORK):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} is no checkpoint: {name} is missing")
    spec = ModelSpec.model_validate_json((folder / SPEC).read_text())
    network = _NETWORK_CONFIG.validate_json((folder / NETWORK).read_text())
    check_fits(network, spec)
    facts = json.loads((folder / FACTS).read_text()) if (folder / FACTS).is_file() else {}
    return Checkpoint(spec, network, load_tensors(folder / WEIGHTS)[0], facts)


def newest_graph(folder: Path) -> Path | None:
    """model.onnx of a version's folder, or of the newest version in a model's folder that has one; None for neither."""
    if (folder / GRAPH).is_file():
        return folder / GRAPH
    versions = version_numbers(path.parent.name for path in folder.glob(f"*/{GRAPH}"))
    return folder / str(versions[-1]) / GRAPH if versions else None


def build(checkpoint: Checkpoint) -> nn.Module:
    """The checkpoint's network with its weights, in evaluation mode. Raises RuntimeError naming keys that do not match."""
    network = make_network(checkpoint.network)
    network.load_state_dict(dict(checkpoint.weights))
    return network.eval()


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Safetensors, whole or not at all. Raises OSError naming the path, on a full disk for one."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, temporary, metadata)
        temporary.replace(path)
    except SafetensorError as error:
        raise OSError(f"{path} cannot be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file and its metadata. Raises ValueError, naming the path, for a file that is cut short."""
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118 (not a dict)
    except SafetensorError as error:
        raise ValueError(f"{path} cannot be read, it may be cut short: {error}") from error


def write_text(path: Path, text: str) -> None:
    """Text with a final newline, whole or not at all."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text + "\n")
    temporary.replace(path)
