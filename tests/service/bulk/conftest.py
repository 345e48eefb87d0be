"""A restorer without a network, and sources of small pictures."""

import asyncio
import hashlib
import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from service.bulk.clip import ClipSize
from service.bulk.picture import Restored
from service.errors import Malformed
from service.restoration.parameters import RestoreParameters
from service.video.parameters import ClipParameters


class FakeRestorer:
    """Answers with the picture's own bytes behind a mark; `calls` counts each picture."""

    def __init__(self, digest: str = "weights", at_once: int = 3) -> None:
        self.digest, self.steps, self.at_once = digest, 2, at_once
        self.calls: Counter[str] = Counter()
        self.starts = 0
        self.ends_at_clips, self.resumed = False, 0

    def suffixes(self, picture: bytes, parameters: RestoreParameters) -> tuple[str, ...]:
        return (".webp",) if parameters.format == "webp" else (".png",)

    async def start(self) -> None:
        self.starts += 1

    async def restore(self, picture: bytes, parameters: RestoreParameters) -> Restored:
        await asyncio.sleep(0)
        self.calls[hashlib.sha256(picture).hexdigest()] += 1
        if b"broken" in picture:
            raise Malformed("the png picture is damaged or cut short")
        return Restored(f"{self.digest}:".encode() + picture, 8, 8)

    async def restore_clip(
        self, source: Path, target: Path, folder: Path, parameters: ClipParameters, on_frame: Callable[[], None]
    ) -> ClipSize:
        on_frame()
        return await asyncio.to_thread(self._restore_clip, source, target, folder, parameters)

    def _restore_clip(self, source: Path, target: Path, folder: Path, parameters: ClipParameters) -> ClipSize:
        clip = source.read_bytes()
        self.calls[hashlib.sha256(clip).hexdigest()] += 1
        folder.mkdir(exist_ok=True)
        self.resumed += (folder / "segment").exists()
        (folder / "segment").touch()
        if b"slow" in clip and self.ends_at_clips:
            raise RuntimeError("the process ended here")
        if b"broken" in clip:
            raise Malformed("the clip is damaged")
        target.write_bytes(f"{self.digest}:{parameters.steady}:".encode() + clip)
        return ClipSize(16, 8, 5)


def png(number: int) -> bytes:
    """A PNG whose pixels tell its number."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (number % 256, number // 256 % 256, 7)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def restorer() -> FakeRestorer:
    return FakeRestorer()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Six pictures in two folders, one broken, one text."""
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    for number in range(4):
        (folder / f"{number}.png").write_bytes(png(number))
    (folder / "sub" / "4.PNG").write_bytes(png(4))
    (folder / "sub" / "no-suffix").write_bytes(png(5))
    (folder / "broken.png").write_bytes(png(6) + b"broken")
    (folder / "notes.txt").write_text("hello")
    return folder
