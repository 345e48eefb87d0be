"""A model repository in Triton's layout, `<model>/{config.pbtxt, <version>/<file>}`, as facts and names: no file is read here."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rddm.model import Model, from_parameters

CONFIG = "config.pbtxt"


@dataclass(frozen=True)
class Configuration:
    """What a config.pbtxt says of one model. file: the name of each version's model file; parameters: the text ones, by key."""

    name: str
    backend: str
    file: str
    parameters: Mapping[str, str]

    @classmethod
    def of(cls, message: Any) -> "Configuration":
        """Of a message with the members of Triton's `ModelConfig`."""
        parameters = {key: parameter.string_value for key, parameter in message.parameters.items()}
        return cls(message.name, message.backend, message.default_model_filename, parameters)


def versions_of(config: Configuration) -> dict[int, Model]:
    """The versions that a configuration describes, by number; none for a model that was not exported by this project.

    Raises ValueError where a version's facts are incomplete or cannot be read.
    """
    return from_parameters(config.parameters)


def version_numbers(names: Iterable[str]) -> list[int]:
    """The versions among the names in a model's folder, ascending: whole numbers, as Triton has them."""
    return sorted(int(name) for name in names if name.isdecimal())
