"""What every verb shares: errors in words with an exit status, settings and parameters from what was typed."""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from rddm.repository import CONFIG
from service.client.errors import ClientError
from service.errors import ServiceError
from service.settings import Settings, unknown_variables

O = TypeVar("O", bound=BaseModel)  # noqa: E741
NOT_ALLOWED = {404, 422}  # statuses of the service's errors that name a value which is not allowed


class Refused(Exception):
    """What the caller of a verb must change; said on standard error, with exit status 2."""


def run_verb(run: Callable[[Sequence[str]], int], argv: Sequence[str]) -> int:
    try:
        return run(argv)
    except Refused as refused:
        print(f"rddm: {refused}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # what reads the output has enough
        raise
    except (ServiceError, ClientError, OSError) as error:
        print(f"rddm: {error}", file=sys.stderr)
        return 2 if is_refusal(error) else 1
    except KeyboardInterrupt:
        return 130


def is_refusal(error: Exception) -> bool:
    """Whether it names a value that is not allowed."""
    return getattr(error, "status", None) in NOT_ALLOWED


def settings_of(**given: Any) -> Settings:
    """Settings from the environment and what was given. Names a variable that is none of them; raises Refused for a wrong value."""
    for name in unknown_variables():
        print(f"rddm: the environment variable {name} is no setting", file=sys.stderr)
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as wrong:
        raise Refused(f"settings: {_reasons(wrong)}") from wrong


def local_settings(server: str | None, model_repository: Path | None) -> Callable[..., Settings]:
    """What makes the settings of work in this process. Raises Refused for a repository that is no folder, or is not used."""
    if server is not None and model_repository is not None:
        raise Refused("--model-repository is for work here; with --server it is the gateway's own that is used")
    if model_repository is not None and not model_repository.is_dir():
        raise Refused(f"{model_repository} is no folder of models")
    if model_repository is not None and not any(model_repository.glob(f"*/{CONFIG}")):
        raise Refused(f"{model_repository} holds no models; expected a folder each, with a {CONFIG}, as `rddm export` writes it")
    return partial(settings_of, model_repository=model_repository)


def parameters_of(kind: type[O], **given: Any) -> O:
    try:
        return kind(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as wrong:
        raise Refused(_reasons(wrong)) from wrong


def _reasons(wrong: ValidationError) -> str:
    """Each value with what is expected in its place; values that do not go together only by the latter."""
    reasons = []
    for one in wrong.errors():
        value = f"{one['loc'][0]} = {one['input']!r}: " if one["loc"] else ""
        reasons.append(value + one["msg"].removeprefix("Value error, ").lower())
    return "; ".join(reasons)
