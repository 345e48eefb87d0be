"""The folder of a model: `<repository>/<name>/{config.pbtxt, <version>/<model file>, README.md, the card's pictures}`.

Written whole or not at all.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from export.configuration import Backend, from_text, to_text
from rddm.model import Model
from rddm.repository import CONFIG, version_numbers

CARD = "README.md"
STAGING, REPLACED = ".staging-", "replaced"
ABANDONED = 3600.0  # seconds; writing takes a few


def described(path: Path) -> dict[int, Model]:
    """The versions in a model's folder whose directory is there and whose facts its config.pbtxt holds; none for a new model."""
    if not (path / CONFIG).is_file():
        return {}
    models = from_text((path / CONFIG).read_text(encoding="utf-8"))
    return {version: model for version, model in models.items() if (path / str(version)).is_dir()}


def taken(path: Path) -> set[int]:
    """The numbers that a new version cannot have: those of directories, and those that config.pbtxt describes."""
    if not path.is_dir():
        return set()
    known = from_text((path / CONFIG).read_text(encoding="utf-8")) if (path / CONFIG).is_file() else {}
    return {*known, *version_numbers(each.name for each in path.iterdir() if each.is_dir())}


def write(
    folder: Path,
    model: Model,
    earlier: Mapping[int, Model],
    data: bytes,
    card: Mapping[str, bytes],
    backend: Backend,
) -> Path:
    """Put one version into the repository; card: files beside the configuration, by name.

    Everything is written beside its place first; then only renames remain.
    """
    path = folder / model.spec.name
    text = to_text([*{**earlier, model.version: model}.values()], backend)
    path.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    staging = Path(tempfile.mkdtemp(prefix=STAGING, dir=folder))
    try:
        (staging / "version").mkdir()
        (staging / "version" / backend.file).write_bytes(data)
        (staging / CONFIG).write_text(text, encoding="utf-8")
        (staging / "card").mkdir()
        for name, content in card.items():
            (staging / "card" / name).write_bytes(content)
        _move_in(staging, path, model.version)
    finally:
        shutil.rmtree(staging)
        if not any(path.iterdir()):
            path.rmdir()
    return path


def _sweep(folder: Path) -> None:
    """Remove what killed exports left half written; not what may be the only copy of a version that was being replaced."""
    for staging in folder.glob(f"{STAGING}*"):
        with suppress(OSError):  # another export sweeps too, or it is another user's
            if time.time() - staging.stat().st_mtime > ABANDONED and not (staging / REPLACED).exists():
                shutil.rmtree(staging, ignore_errors=True)


def _move_in(staging: Path, path: Path, version: int) -> None:
    place = path / str(version)
    if place.exists():
        place.rename(staging / REPLACED)
    try:
        (staging / "version").rename(place)
        for file in (staging / "card").iterdir():
            file.replace(path / file.name)
        (staging / CONFIG).replace(path / CONFIG)
    except OSError:
        if (staging / REPLACED).exists():
            shutil.rmtree(place, ignore_errors=True)
            (staging / REPLACED).rename(place)
        raise
    _open_to_readers(path)


def _open_to_readers(path: Path) -> None:
    """mkdtemp makes private folders; servers read the repository as another user."""
    for directory, _, files in os.walk(path):
        Path(directory).chmod(0o755)
        for file in files:
            Path(directory, file).chmod(0o644)
