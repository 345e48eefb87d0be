"""What mutated picture files do to the codec processes: nothing, but an error in words.

    python -m benchmarks.fuzz_files --minutes 30 [--seed 0] [--pictures MORE_FILES...] [--out benchmarks/results/fuzz-files.json]

Small files of every format, depth and colour, and tests/fixtures, are changed at random: bits, bytes, 32-bit numbers,
pieces cut out, doubled, swapped or taken from another file, lengths made huge. Each is decoded in a confined process, as a
request's is, and where that succeeds written back in its own format. What may come of it: a picture, or Malformed, TooLarge or
UnsupportedMedia. Anything else is a failure and is kept. `broken`: files that ended their process, which the pool replaces; each
is a Malformed for its sender. A good picture is read after every hundred. Memory is the most that one process held.
"""

import argparse
import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, ImageCms

from benchmarks.machine import machine, peak_memory
from rddm.image import Pixels
from service.errors import Malformed, ServiceError, TooLarge, UnsupportedMedia
from service.pictures.formats import ALL_FORMATS, answer_format, sniff
from service.pictures.picture import Bounds
from service.pictures.workers.pool import BROKEN, CodecPool

FIXTURES = Path(__file__).parents[1] / "tests" / "fixtures"
BOUNDS = Bounds(4096 * 4096, 8192)
SECONDS, MEMORY = 20.0, 2 << 30
NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
ALLOWED = (Malformed, TooLarge, UnsupportedMedia)


def seeds() -> list[bytes]:
    """Valid files of every format that is written here, in 8 and 16 bits, grey, with alpha, profiles and metadata."""
    draw = np.random.default_rng(0)
    colour = np.asarray(Image.fromarray(draw.integers(0, 256, (6, 8, 3), np.uint8)).resize((48, 40)))
    deep = (colour.astype(np.uint16) << 8) | 0x55
    alpha = np.dstack([colour, colour[..., :1]])
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[271], exif[274] = "Maker", 6
    files = [
        _pillow(pixels, kind, **options)
        for pixels in (colour, colour[..., 0], alpha)
        for kind, options in (
            ("PNG", {"icc_profile": profile, "exif": exif}),
            ("JPEG", {"icc_profile": profile, "exif": exif, "progressive": True}),
            ("JPEG", {"subsampling": 2}),
            ("WEBP", {"exif": exif, "icc_profile": profile}),
            ("WEBP", {"lossless": True}),
            ("AVIF", {"exif": exif}),
            ("TIFF", {"compression": "tiff_lzw", "icc_profile": profile}),
        )
        if not (kind == "JPEG" and pixels.ndim == 3 and pixels.shape[2] == 4)
    ]
    files += [bytes(imagecodecs.png_encode(pixels)) for pixels in (deep, np.ascontiguousarray(deep[..., 0]))]
    files += [
        bytes(imagecodecs.jpegxl_encode(pixels, lossless=lossless)) for pixels in (colour, deep) for lossless in (True, False)
    ]
    files += [bytes(imagecodecs.avif_encode(colour, bitspersample=8)), bytes(imagecodecs.avif_encode(deep >> 4, bitspersample=12))]
    return files + [_tiff(pixels, **options) for pixels in (colour, deep) for options in TIFFS]


TIFFS: tuple[dict[str, Any], ...] = (
    {"byteorder": ">"},
    {"bigtiff": True, "compression": "zlib", "predictor": True},
    {"tile": (16, 16), "compression": "lzw"},
    {"planarconfig": "separate"},
)


def _pillow(pixels: Pixels, kind: str, **options: Any) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def _tiff(pixels: Pixels, **options: Any) -> bytes:
    file = BytesIO()
    tifffile.imwrite(file, pixels, photometric="rgb", metadata=None, **options)
    return file.getvalue()


def mutated(data: bytes, other: bytes, dice: random.Random) -> bytes:
    """A file with one to six changes, most of them near its head, where its structure is."""
    changed = bytearray(data)
    for _ in range(dice.choice((1, 1, 1, 2, 3, 6))):
        end = len(changed) if dice.random() < 0.4 else min(len(changed), 400)
        if end < 8:
            break
        at, length = dice.randrange(end), dice.choice((1, 2, 4, 16, 64, 500))
        dice.choice((_flip, _overwrite, _number, _cut, _double, _graft, _truncate))(changed, at, length, other, dice)
    return bytes(changed)


def _flip(data: bytearray, at: int, _length: int, _other: bytes, dice: random.Random) -> None:
    data[at] ^= 1 << dice.randrange(8)


def _overwrite(data: bytearray, at: int, length: int, _other: bytes, dice: random.Random) -> None:
    data[at : at + length] = dice.randbytes(min(length, len(data) - at))


def _number(data: bytearray, at: int, _length: int, _other: bytes, dice: random.Random) -> None:
    width = dice.choice((2, 4, 8))
    data[at : at + width] = (dice.choice(NUMBERS) % (1 << 8 * width)).to_bytes(width, dice.choice(("big", "little")))


def _cut(data: bytearray, at: int, length: int, _other: bytes, _dice: random.Random) -> None:
    del data[at : at + length]


def _double(data: bytearray, at: int, length: int, _other: bytes, dice: random.Random) -> None:
    data[at:at] = data[at : at + length] * dice.choice((1, 2, 50))


def _graft(data: bytearray, at: int, length: int, other: bytes, dice: random.Random) -> None:
    start = dice.randrange(max(1, len(other) - length))
    data[at : at + length] = other[start : start + length]


def _truncate(data: bytearray, at: int, _length: int, _other: bytes, dice: random.Random) -> None:
    if dice.random() < 0.3:
        del data[max(at, 8) :]


class Fuzzing:
    """One run."""

    def __init__(self, files: Sequence[bytes], seed: int, failures: Path) -> None:
        self.files, self.dice, self.failures = files, random.Random(seed), failures
        self.outcomes: dict[str, Counter[str]] = {}
        self.failed: list[str] = []
        self.most_memory = 0.0
        self.good_reads = 0

    async def run(self, pool: CodecPool, minutes: float, most: int) -> None:
        """Mutates until the time is over or so many files were tried."""
        ends, count = time.monotonic() + 60 * minutes, 0
        while time.monotonic() < ends and count < most:
            source, other = self.dice.choice(self.files), self.dice.choice(self.files)
            await self._try(pool, sniff(source).title, mutated(source, other, self.dice))
            count += 1
            if count % 100 == 0:
                await pool.decode(self.files[0])
                self.good_reads += 1
                self.most_memory = max(self.most_memory, *(peak_memory(worker.process.pid) for worker in workers_of(pool)), 0.0)
            if count % 1000 == 0:
                print(f"{count} files, {len(self.failed)} failures, {pool.killed} processes ended", flush=True)

    async def _try(self, pool: CodecPool, title: str, data: bytes) -> None:
        outcome = await self._outcome(pool, data)
        self.outcomes.setdefault(title, Counter())[outcome] += 1
        if outcome.startswith("failure"):
            name = f"{len(self.failed):04d}.bin"
            self.failures.mkdir(parents=True, exist_ok=True)
            (self.failures / name).write_bytes(data)
            self.failed.append(f"{name}: {title}: {outcome}")

    @staticmethod
    async def _outcome(pool: CodecPool, data: bytes) -> str:
        try:
            picture = await pool.decode(data)
            kind = answer_format(picture.format)
            written = await pool.encode(picture, kind)
            return "picture" if kind.matches(written) else "failure: written file is of another format"
        except ALLOWED as refused:
            return "broken" if refused.detail == BROKEN else type(refused).__name__
        except ServiceError as error:
            return f"failure: {type(error).__name__}: {error.detail}"
        except Exception as error:  # what a request would be answered 500 for is what is looked for here
            return f"failure: {type(error).__name__}: {error}"


def workers_of(pool: CodecPool) -> list[Any]:
    """The processes that wait for work: all of them between two files."""
    idle, waiting = pool._idle, []
    while idle:
        waiting.append(idle.take())
    for worker in waiting:
        idle.put(worker)
    return [worker for worker in waiting if worker is not None]


async def fuzz(arguments: argparse.Namespace) -> dict[str, Any]:
    """The report."""
    folders = (FIXTURES / "cases", FIXTURES / "heic")
    given = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()] + arguments.pictures
    files = [*seeds(), *(path.read_bytes() for path in given)]
    files = [data for data in files if any(record.matches(data) for record in ALL_FORMATS.values())]
    pool = CodecPool(BOUNDS, 1, SECONDS, MEMORY)
    run, began = Fuzzing(files, arguments.seed, arguments.failures), time.monotonic()
    await pool.start()
    try:
        await run.run(pool, arguments.minutes, arguments.files)
    finally:
        await pool.close()
    return {
        "files": sum(counts.total() for counts in run.outcomes.values()),
        "seeds": len(files),
        "minutes": round((time.monotonic() - began) / 60, 1),
        "seed": arguments.seed,
        "failures": run.failed,
        "processes_ended": pool.killed,
        "good_reads_between": run.good_reads,
        "most_memory_mib": round(run.most_memory),
        "outcomes": {title: dict(sorted(counts.items())) for title, counts in sorted(run.outcomes.items())},
    }


def main() -> int:
    """Exit status 1 where a file did what none may."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz_files", description=str(__doc__).splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--files", type=int, default=10**9, help="at most so many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=Path, nargs="*", default=[], help="more files to begin with")
    parser.add_argument("--failures", type=Path, default=Path("fuzz-failures"), help="folder for the files that failed")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "fuzz-files.json")
    arguments = parser.parse_args()
    report = {"machine": machine()} | asyncio.run(fuzz(arguments))
    arguments.out.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    print(json.dumps(report, indent=1))
    return 1 if report["failures"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
