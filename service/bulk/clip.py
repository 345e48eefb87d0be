"""A clip in a batch: what is asked of it, and the folder in which its parts lie while it is in work."""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from service.bulk.folder import Folder
from service.bulk.stores import STATE, Store, StoreError
from service.errors import InvalidValue, ServiceError, UnsupportedMedia
from service.restoration.parameters import RestoreParameters
from service.settings import cache_folder
from service.video.facts import check_installed, container_of
from service.video.parameters import ClipParameters
from service.video.segments import digest_of

__all__ = ["ClipSize", "begins_as_clip", "digest_of", "opened_scratch", "parameters_for"]
# What would change a clip, and cannot be asked of one.
PICTURES_ONLY = {"flips": "quality=best (ensemble)"}
OF_BOTH = ("task", "steps", "seed", "strength", "brightness", "brightness_mean")


@dataclass(frozen=True)
class ClipSize:
    """Of a restored clip: a frame as it is stored, and how many."""

    width: int
    height: int
    frames: int


def begins_as_clip(start: bytes) -> bool:
    """Whether a file that starts so is a clip that is read here."""
    try:
        container_of(start)
    except UnsupportedMedia:
        return False
    return True


def parameters_for(pictures: RestoreParameters, clips: ClipParameters) -> ClipParameters:
    """What is asked of a clip: models, steps, seed, strength and brightness as of pictures.

    Raises UnsupportedMedia where the extra `video` is missing, InvalidValue for what only pictures can be asked for.
    """
    check_installed()
    plain = RestoreParameters()
    for name, words in PICTURES_ONLY.items():
        if getattr(pictures, name) != getattr(plain, name):
            raise InvalidValue(f"{words} is for pictures, and this is a clip")
    return clips.model_copy(update={name: getattr(pictures, name) for name in OF_BOTH})


@contextmanager
def opened_scratch(target: Store, key: str) -> Iterator[Path]:
    """A folder for one clip's parts, on the target's own disk if it has one; a second run of the key opens the same.

    It goes when the clip is done or cannot be; it stays where the run is ended. Raises StoreError where it cannot be made.
    """
    at = target.root / STATE if isinstance(target, Folder) else cache_folder()
    if at is None:
        raise StoreError("clips need a folder for their parts: set HOME or XDG_CACHE_HOME", fatal=True)
    path = at / "clips" / hashlib.sha256(f"{target.name} {key}".encode()).hexdigest()[:32]
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{path} cannot be made: {error.strerror}", fatal=True) from error
    try:
        yield path
    except ServiceError:
        shutil.rmtree(path, ignore_errors=True)
        raise
    shutil.rmtree(path, ignore_errors=True)
