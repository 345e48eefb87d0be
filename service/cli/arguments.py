"""The options that several verbs have."""

import argparse
import os
from pathlib import Path
from typing import get_args

from service.settings import KEY_VARIABLE
from service.video.facts import Codec, Container
from service.video.parameters import Steadying

CLIP_OPTIONS = ("steady", "codec", "container")


def place(text: str) -> str:
    """A file's or folder's name as it was typed; an empty one, of a variable that is not set, would be the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("'' is no path; expected the name of a file or folder")
    return text


def path(text: str) -> Path:
    """The path of such a name."""
    return Path(place(text))


def add_server(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--server", type=_server, metavar="URL", help="a running gateway to ask, instead of working here")
    parser.add_argument(
        "--model-repository", type=path, metavar="FOLDER", help="models in Triton's layout, for work here (those that ship)"
    )
    given = os.environ.get(KEY_VARIABLE)
    parser.add_argument("--key", type=_key, default=given, help=f"its API key (the environment's {KEY_VARIABLE})")


def add_task(parser: argparse.ArgumentParser, usual: str = "the default model") -> None:
    """Which models restore, in how many steps, from which noise. usual: what is done where no task is named."""
    names = "a model's name, task or alias, see `rddm models`; several between commas; or auto"
    parser.add_argument("--task", help=f"{names} ({usual})")
    add_steps(parser)
    parser.add_argument("--seed", type=int, help="0 if absent")


def add_steps(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--steps", type=int, help="network calls (the model's own number)")


def add_metadata(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--metadata", choices=["keep", "all", "none"], help="keep leaves out places (keep)")


def add_adjusting(parser: argparse.ArgumentParser) -> None:
    """What is turned after the network."""
    parser.add_argument("--strength", type=float, metavar="SHARE", help="of the result, 0 to 1; the rest is IN (1)")
    parser.add_argument("--brightness", metavar="STOPS", help="of low light: auto, or -3 to 3 stops less or more (auto)")
    parser.add_argument("--brightness-mean", type=float, metavar="MEAN", help="in its place: the mean to reach, 0.15 to 0.65")


def add_writing(parser: argparse.ArgumentParser, more: str = "", *, restores: bool = True) -> None:
    """How files are written, where their format gives a choice. more: what --quality says beside. restores: offers best."""
    best = "; or best: mirror images are restored too and averaged, four times the work" if restores else ""
    kind = _quality if restores else int
    parser.add_argument("--quality", type=kind, metavar="N", help=f"1 to 100, of JPEG, WebP, AVIF and JPEG XL (high){more}{best}")
    parser.add_argument(
        "--lossless",
        action=argparse.BooleanOptionalAction,
        help=f"whether WebP and JPEG XL are written without loss ({'like IN' if restores else 'no'})",
    )


def _quality(text: str) -> int | str:
    if text == "best" or text.isdecimal():
        return text if text == "best" else int(text)
    raise argparse.ArgumentTypeError(f"{text!r}; expected best, or a whole number")


def _server(text: str) -> str:
    from service.client.operations import to_address  # noqa: PLC0415 (imports httpx2, which work in this process does not need)

    try:
        return str(to_address(text))
    except ValueError as wrong:
        raise argparse.ArgumentTypeError(str(wrong)) from wrong


def _key(text: str) -> str:
    from service.client.operations import to_headers  # noqa: PLC0415 (as above)

    try:
        to_headers(text)
    except ValueError as wrong:
        raise argparse.ArgumentTypeError(str(wrong)) from wrong
    return text


def add_clip_options(parser: argparse.ArgumentParser) -> None:
    """What is for clips alone."""
    group = parser.add_argument_group("clips", "a killed run goes on where it was when the same command is given again")
    group.add_argument(
        "--steady", choices=get_args(Steadying), help="off, exposure (neighbours share theirs), motion (and blend; default)"
    )
    group.add_argument("--codec", choices=get_args(Codec), help="of the result (h264); ffv1 is lossless")
    group.add_argument("--container", choices=get_args(Container), help="mp4, mkv for ffv1; of one clip by OUT's name")
