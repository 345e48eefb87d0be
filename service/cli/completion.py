"""rddm completion: what a shell needs to complete verbs, options and values."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, NoReturn
from unittest.mock import patch

import shtab

from rddm.__main__ import summary, verbs
from service.cli.verb import run_verb

FILES = {"FILE", "FOLDER", "IN", "OUT", "SOURCE", "TARGET", "DIR", "SPEC"}  # how the verbs name arguments that are paths


class ParserMade(Exception):
    """A verb has made its parser, and is stopped there."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser


def completion(argv: Sequence[str]) -> int:
    """Print a shell's completion script: eval "$(rddm completion bash)"."""
    return run_verb(_completion, argv)


def _completion(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="rddm completion", description="Prints a script that completes `rddm` in a shell.")
    parser.add_argument("shell", choices=shtab.SUPPORTED_SHELLS)
    given = parser.parse_args(argv)
    print(shtab.complete(whole_parser(), shell=given.shell))
    return 0


def whole_parser() -> argparse.ArgumentParser:
    """All verbs as sub-commands; one whose packages are missing has no options."""
    whole = argparse.ArgumentParser(prog="rddm")
    places = whole.add_subparsers()
    for name, entry in verbs().items():
        parser = _parser_of(entry)
        parents = [parser] if parser is not None else []
        placed = places.add_parser(name, help=summary(entry), parents=parents, add_help=False)
        for action in placed._actions:
            if action.type is Path or action.metavar in FILES:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    return whole


def _parser_of(entry: EntryPoint) -> argparse.ArgumentParser | None:
    """The verb's own parser: the verb is run up to the point where it would read its arguments."""
    if entry.attr == completion.__name__:
        return None
    try:
        with _stopped():
            verb: Callable[[list[str]], Any] = entry.load()
            verb([])
    except ParserMade as made:
        return made.parser
    except ModuleNotFoundError:
        return None
    return None


@contextmanager
def _stopped() -> Iterator[None]:
    def stop(parser: argparse.ArgumentParser, *_: Any, **__: Any) -> NoReturn:
        raise ParserMade(parser)

    with patch.object(argparse.ArgumentParser, "parse_args", stop):
        yield
