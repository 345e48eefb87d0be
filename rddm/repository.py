"""A model repository in Triton's layout, `<model>/{config.pbtxt, <version>/<file>}`, as text and names: no file is read here."""

from collections.abc import Iterable

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as proto

from rddm.model import Model, from_parameters

CONFIG = "config.pbtxt"


def parse_config(text: str) -> proto.ModelConfig:
    """A config.pbtxt's text as Triton's message. Raises ValueError for text that is none."""
    try:
        return text_format.Parse(text, proto.ModelConfig())
    except text_format.ParseError as error:
        raise ValueError(f"not a model configuration: {error}") from error


def versions_of(config: proto.ModelConfig) -> dict[int, Model]:
    """The versions that a configuration describes, by number; none for a model that was not exported by this project.

    Raises ValueError where a version's facts are incomplete or cannot be read.
    """
    return from_parameters({key: parameter.string_value for key, parameter in config.parameters.items()})


def version_numbers(names: Iterable[str]) -> list[int]:
    """The versions among the names in a model's folder, ascending: whole numbers, as Triton has them."""
    return sorted(int(name) for name in names if name.isdecimal())
