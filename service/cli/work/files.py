"""Which files are pictures, and where results go: names, formats, and files that are written whole or not at all."""

import os
import uuid
from pathlib import Path

from service.cli.verb import Refused
from service.errors import UnsupportedMedia
from service.pictures.formats import FORMATS, PictureFormat, sniff
from service.video.facts import is_clip

HEAD_BYTES = 4096
KEPT_BY_SYSTEMS = {"Thumbs.db", "desktop.ini", "Icon\r"}

SUFFIXES = {suffix: name for name, record in FORMATS.items() for suffix in record.suffixes}
SUFFIX_OF = {name: record.suffix for name, record in FORMATS.items()}


def is_folder(output: str) -> bool:
    return output.endswith(("/", os.sep)) or Path(output).is_dir()


def format_of(output: str | None, format_: str | None) -> str | None:
    """The format that --format or OUT's name asks for. Raises Refused for a name that asks for none, or for another."""
    if output is None or is_folder(output):
        return format_
    suffix = Path(output).suffix.lower()
    if suffix and suffix not in SUFFIXES and format_ is None:
        raise Refused(f"{output} ends in {suffix!r}; expected {', '.join(SUFFIXES)}, or a --format beside it")
    if format_ not in (None, SUFFIXES.get(suffix, format_)):
        raise Refused(f"--format {format_} and {output} differ; expected one of them, or the same")
    return format_ or SUFFIXES.get(suffix)


def format_in(path: Path) -> PictureFormat:
    """The format of a file, by its content. Raises UnsupportedMedia, which names the file, and OSError."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    try:
        return sniff(head)
    except UnsupportedMedia as refused:
        raise UnsupportedMedia(f"{path}: {refused.detail}") from refused


def sort_folder(folder: Path, results: Path | None = None) -> tuple[list[Path], list[str]]:
    """The pictures below a folder, by their content, and the other files, in words; hidden ones are neither.

    results: a folder within it that is passed over. Links to folders are not followed, as by `rddm batch`: they may be rings.
    """
    pictures, others = [], []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name in KEPT_BY_SYSTEMS or path.resolve() == results:
            continue
        if path.is_dir() and not path.is_symlink():
            below = sort_folder(path, results)
            pictures += below[0]
            others += below[1]
        elif (problem := _problem(path)) is None:
            pictures.append(path)
        else:
            others.append(problem)
    return pictures, others


def _problem(path: Path) -> str | None:
    """Why a file is no picture to restore, and its name."""
    if path.is_dir():
        return f"{path}: a link to a folder is not followed"
    if not path.is_file():
        return f"{path}: neither a file nor a folder"
    if is_clip(path):
        return f"{path}: a clip is restored by itself"
    try:
        format_in(path)
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    except UnsupportedMedia as refused:
        return refused.detail
    return None


def write_whole(target: Path, body: bytes, modified_ns: int | None = None) -> None:
    """The whole file or none: what was there before stays until all of the new one is on the disk.

    modified_ns: when it was changed, as it shall say, in nanoseconds; now if None. Raises OSError that names the target.
    """
    try:
        _write_whole(target, body, modified_ns)
    except FileExistsError as error:
        raise FileExistsError(f"{target} cannot be written: {error.filename} is no folder") from error
    except OSError as error:
        raise type(error)(f"{target} cannot be written: {(error.strerror or str(error)).lower()}") from error


def _write_whole(target: Path, body: bytes, modified_ns: int | None) -> None:
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
        if modified_ns is not None:
            os.utime(part, ns=(modified_ns, modified_ns))
        part.replace(place)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
