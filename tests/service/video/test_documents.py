"""The commands of docs/video.md are taken, and the values and settings that it lists are those that exist."""

import re
import shlex
from pathlib import Path
from typing import get_args
from urllib.parse import parse_qsl, urlsplit

from service.cli.restore import _restore_arguments
from service.settings import Settings
from service.video.facts import Codec, Container
from service.video.parameters import ClipParameters, Steadying

PAGE = (Path(__file__).parents[3] / "docs" / "video.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(?:sh)?\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
LINES = [line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines()]


def test_every_command_is_taken() -> None:
    commands = [shlex.split(line) for line in LINES if line.startswith("rddm restore")]
    assert len(commands) >= 4
    for words in commands:
        given = _restore_arguments().parse_args(words[2:])
        ClipParameters(**{name: getattr(given, name) for name in ("task", "steady", "codec") if getattr(given, name)}).options()


def test_the_query_of_the_curl_line_is_taken() -> None:
    [line] = [line for line in LINES if "/restore/video" in line]
    address = next(word for word in shlex.split(line) if word.startswith("http"))
    ClipParameters(**dict(parse_qsl(urlsplit(address).query)))


def test_values_and_settings_are_those_that_there_are() -> None:
    for kind in (Codec, Container, Steadying):
        assert all(f"`{value}`" in PAGE for value in get_args(kind))
    names = re.findall(r"`RDDM_([A-Z_]+)`", PAGE)
    assert {name.lower() for name in names} == {name for name in Settings.model_fields if "clip" in name}
