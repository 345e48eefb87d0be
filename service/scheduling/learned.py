"""What was learnt of models on this machine, in a small file: a later process need not learn it again.

Nothing depends on the file: missing, damaged, of another format or read-only, the service starts without it.
"""

import contextlib
import logging
import os
import platform
import tempfile
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from rddm.graph import BATCH_SIZES
from service.cores import usable_cores

log = logging.getLogger("rddm.scheduling")
MOST_ENTRIES = 256


class Learned(BaseModel):
    """Of one model: see BatchSizes; seconds_per_megapixel of one call, if one was measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    largest: int
    fills: bool
    is_settled: bool
    seconds_per_megapixel: float | None = Field(gt=0, allow_inf_nan=False)

    @field_validator("largest")
    @classmethod
    def _is_batch_size(cls, value: int) -> int:
        if value not in BATCH_SIZES:
            raise ValueError(f"largest = {value}; expected one of {list(BATCH_SIZES)}")
        return value


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = 1
    entries: dict[str, Learned] = {}


class LearnedFile:
    """path: None for no file. engine: name, version and threads of what computes; what another engine taught does not count."""

    def __init__(self, path: Path | None, engine: str) -> None:
        self._path = path
        self._machine = f"{engine} on {processor()}, {usable_cores()} cores"

    def get(self, digest: str) -> Learned | None:
        """What is known of the model file with this digest."""
        return self._read().entries.get(self._key(digest))

    def put(self, digest: str, learned: Learned) -> None:
        """Writes the file anew, or logs that it cannot be written."""
        if self._path is None:
            return
        entries = self._read().entries
        entries.pop(self._key(digest), None)
        entries[self._key(digest)] = learned
        kept = dict(list(entries.items())[-MOST_ENTRIES:])
        try:
            _replace(self._path, _Document(entries=kept).model_dump_json(indent=1))
        except OSError as error:
            log.info("what was learnt of models cannot be kept: %s", error)

    def _key(self, digest: str) -> str:
        return f"{digest} by {self._machine}"

    def _read(self) -> _Document:
        if self._path is None:
            return _Document()
        try:
            return _Document.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return _Document()
        except (OSError, ValidationError) as error:
            log.info("what was learnt of models cannot be read: %s", type(error).__name__)
            return _Document()


def _replace(path: Path, text: str) -> None:
    """Writes a file whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def processor() -> str:
    """The processor's name."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
