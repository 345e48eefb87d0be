"""Where results go: names, formats, and files that are written whole or not at all."""

import os
import uuid
from pathlib import Path

from service.cli.verb import Refused
from service.pictures.formats import FORMATS

SUFFIXES = {suffix: name for name, record in FORMATS.items() for suffix in record.suffixes}
SUFFIX_OF = {name: record.suffix for name, record in FORMATS.items()}


def is_folder(output: str) -> bool:
    return output.endswith(("/", os.sep)) or Path(output).is_dir()


def format_of(output: str | None, format_: str | None) -> str | None:
    """The format that --format or OUT's name asks for. Raises Refused for a name that asks for another."""
    if format_ is not None or output is None or is_folder(output):
        return format_
    suffix = Path(output).suffix.lower()
    if suffix and suffix not in SUFFIXES:
        raise Refused(f"{output} ends in {suffix!r}; expected {', '.join(SUFFIXES)}, or a --format beside it")
    return SUFFIXES.get(suffix)


def write_whole(target: Path, body: bytes) -> None:
    """The whole file or none: what was there before stays until all of the new one is on the disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and not target.is_file():
        target.write_bytes(body)  # a device, or the error of a folder
        return
    place = target.resolve()
    part = place.with_name(f".rddm-{uuid.uuid4().hex}.part")
    try:
        part.write_bytes(body)
        if place.exists():
            part.chmod(place.stat().st_mode)
        part.replace(place)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
