"""Work on a clip, kept in a folder: whole segments, so that a killed run goes on at the last of them.

    00000.mp4, 00000.json, 00001.mp4, ...    a segment's packets; its frames' times, and that it is whole
    state-00001.npz                          the last whole segment's last frame, for the blend along the motion
    clip.json                                of which clip, model and options all this is

A segment counts once its JSON file is there, which is renamed into place last.
"""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHUNK = 1 << 20


@dataclass(frozen=True)
class Segment:
    """A whole segment. times: (pts, duration) of each of its frames; number: from 0 on."""

    number: int
    path: Path
    times: tuple[tuple[int, int], ...]


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class WorkFolder:
    """The folder of one clip. What another clip, model or way of working left there is thrown away."""

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        """identity: JSON values that decide the result's bytes."""
        self.path = path
        text = json.dumps(identity, sort_keys=True)
        same = path / "clip.json"
        if not (same.is_file() and same.read_text("utf-8") == text):
            self.remove()
            path.mkdir(parents=True)
            _commit(same, text.encode())
        self.segments = self._whole()
        self._writing: Path | None = None
        for left in path.glob("*-*.mp4"):
            left.unlink(missing_ok=True)

    def _whole(self) -> list[Segment]:
        segments: list[Segment] = []
        while (facts := self.path / f"{len(segments):05}.json").is_file():
            times = json.loads(facts.read_text("utf-8"))["times"]
            segments.append(Segment(len(segments), facts.with_suffix(".mp4"), tuple((pts, lasts) for pts, lasts in times)))
        return segments

    @property
    def frames(self) -> int:
        """How many frames are in whole segments."""
        return sum(len(segment.times) for segment in self.segments)

    @property
    def times(self) -> list[tuple[int, int]]:
        """Of all of them."""
        return [time for segment in self.segments for time in segment.times]

    def open_next(self) -> Path:
        """Where the next segment is written: a new name each time, as the writer of a killed run may not have ended yet."""
        self._writing = self.path / f"{len(self.segments):05}-{secrets.token_hex(4)}.mp4"
        return self._writing

    def commit(self, times: list[tuple[int, int]], state: Mapping[str, NDArray[Any]]) -> None:
        """The segment that was opened is whole; state: arrays of what the next one begins with, or none."""
        assert self._writing is not None
        number = len(self.segments)
        path = self.path / f"{number:05}.mp4"
        _sync(self._writing)
        self._writing.replace(path)
        if state:
            part = self.path / "state.part"
            with part.open("wb") as file:
                np.savez(file, **state)  # type: ignore[arg-type]
            part.replace(self.path / f"state-{number:05}.npz")
        _commit(path.with_suffix(".json"), json.dumps({"times": times}).encode())
        self.segments.append(Segment(number, path, tuple(times)))
        (self.path / f"state-{number - 1:05}.npz").unlink(missing_ok=True)

    def state(self) -> dict[str, NDArray[Any]]:
        """What the last commit kept."""
        path = self.path / f"state-{len(self.segments) - 1:05}.npz"
        if not path.is_file():
            return {}
        with np.load(path) as arrays:
            return dict(arrays)

    def remove(self) -> None:
        """The folder and all in it."""
        shutil.rmtree(self.path, ignore_errors=True)


def _commit(path: Path, data: bytes) -> None:
    part = path.with_suffix(".part")
    part.write_bytes(data)
    _sync(part)
    part.replace(path)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
