"""What a config.pbtxt, on disk or told by a Triton server, says of a model's versions."""

from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as proto

from rddm.model import Model, from_parameters

FILE = "config.pbtxt"


def read_config(path: Path) -> proto.ModelConfig:
    """The config.pbtxt at `path`. Raises OSError, or ValueError naming the file and what is wrong in it."""
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), proto.ModelConfig())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a model configuration: {error}") from error


def to_models(config: proto.ModelConfig) -> dict[int, Model]:
    """The versions that the configuration describes; none for a model that was not exported by this project.

    Raises ValueError, naming the model, where a version's facts are incomplete or cannot be read.
    """
    try:
        models = from_parameters({key: parameter.string_value for key, parameter in config.parameters.items()})
    except ValueError as error:
        raise ValueError(f"the configuration of {config.name!r} cannot be used: {error}") from error
    for model in models.values():
        if model.spec.name != config.name:
            raise ValueError(f"the configuration of {config.name!r} holds the spec of {model.spec.name!r}")
    return models
