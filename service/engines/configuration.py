"""What a config.pbtxt, on disk or told by a Triton server, says of a model's versions."""

from pathlib import Path

from tritonclient.grpc import model_config_pb2 as proto

from rddm.model import Model
from rddm.repository import CONFIG as FILE
from rddm.repository import parse_config, versions_of

__all__ = ["FILE", "read_config", "to_models"]


def read_config(path: Path) -> proto.ModelConfig:
    """The config.pbtxt at `path`. Raises OSError, or ValueError naming the file and what is wrong in it."""
    try:
        return parse_config(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is {error}") from error


def to_models(config: proto.ModelConfig) -> dict[int, Model]:
    """The versions that the configuration describes; none for a model that was not exported by this project.

    Raises ValueError, naming the model, where a version's facts are incomplete or cannot be read.
    """
    try:
        models = versions_of(config)
    except ValueError as error:
        raise ValueError(f"the configuration of {config.name!r} cannot be used: {error}") from error
    for model in models.values():
        if model.spec.name != config.name:
            raise ValueError(f"the configuration of {config.name!r} holds the spec of {model.spec.name!r}")
    return models
