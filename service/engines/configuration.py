"""What a config.pbtxt, on disk or from a Triton server, says of a model's versions.

Of the text only what is needed here is read, by the numbers that Triton's `model_config.proto` gives the members: Triton's client
and its messages need not be installed.
"""

from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, text_format

from rddm.model import Model
from rddm.repository import CONFIG as FILE
from rddm.repository import Configuration, versions_of
from service.engines.messages import Kind, add_field, message_class

__all__ = ["FILE", "parse_config", "read_config", "to_models"]

PACKAGE = "inference"
STRINGS = {"name": 1, "default_model_filename": 8, "backend": 17}  # of ModelConfig in model_config.proto
PARAMETERS = 14


def parse_config(text: str) -> Configuration:
    """A config.pbtxt's text; members that are not needed here are passed over. Raises ValueError for text that is none."""
    try:
        return Configuration.of(text_format.Parse(text, message_type()(), allow_unknown_field=True))
    except text_format.ParseError as error:
        raise ValueError(f"not a model configuration: {error}") from error


def read_config(path: Path) -> Configuration:
    """The config.pbtxt at `path`. Raises OSError, or ValueError naming the file and what is wrong in it."""
    try:
        return parse_config(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is {error}") from error


def to_models(config: Configuration) -> dict[int, Model]:
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


@cache
def message_type() -> Any:
    """The class of what is read of `ModelConfig`."""
    file = descriptor_pb2.FileDescriptorProto(name="read_model_config.proto", package=PACKAGE, syntax="proto3")
    parameter, config = file.message_type.add(name="ModelParameter"), file.message_type.add(name="ModelConfig")
    add_field(parameter, "string_value", 1)
    for name, number in STRINGS.items():
        add_field(config, name, number)
    entry = config.nested_type.add(name="ParametersEntry")  # what map<string, ModelParameter> stands for
    entry.options.map_entry = True
    add_field(entry, "key", 1)
    add_field(entry, "value", 2, type=Kind.TYPE_MESSAGE, type_name=f".{PACKAGE}.{parameter.name}")
    entry_type = f".{PACKAGE}.{config.name}.{entry.name}"
    add_field(config, "parameters", PARAMETERS, type=Kind.TYPE_MESSAGE, type_name=entry_type, label=Kind.LABEL_REPEATED)
    return message_class(file, config.name)
