"""Writes tests/fixtures/phones.tar.xz: JPEG XL and HEIC files for the round trips, by encoders that the project itself never calls.

    python -m benchmarks.phone_files

It needs `cjxl` (Debian: libjxl-tools) and pillow-heif, whose wheel holds x265 under the GPL. The files are committed, so that the
round trips and their tests need neither. Each shows the squares of benchmarks.round_trips without loss, and is turned by its
codestream or container, which is what readers of these formats obey; its name holds its facts.
"""

import argparse
import itertools
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.round_trips import CLEAR, DISPLAY_P3, PHONE_FILES, STORED, colour_kinds, exif_of, squares, to_png
from rddm.image import Pixels

JXL_COLOURS = ("sRGB", "P3 by ICC", "Adobe RGB by ICC", "P3 by CICP", "linear by gAMA", "grey")
HEIC_COLOURS = ("sRGB", "P3 by ICC", "Adobe RGB by ICC", "P3 by CICP", "grey")
RED_GREEN_BLUE, BT601 = 0, 6  # matrix coefficients of ITU-T H.273
P3_TO_CJXL = "RGB_D65_DCI_Rel_SRG"  # libjxl's name of Display P3: cjxl 0.7 passes over a PNG's cICP


def stored_squares(numbers: Any, top: int, orientation: int, clear: bool) -> Pixels:
    """The squares as a file of that orientation stores them."""
    return STORED[orientation](squares(np.dstack([numbers, CLEAR]) if clear else numbers, top))


def jxl_of(stored: Pixels, name: str, profile: bytes | None, orientation: int) -> bytes:
    """By cjxl, which takes the orientation of a PNG's EXIF into the codestream."""
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder, "squares.png"), Path(folder, "squares.jxl")
        before.write_bytes(to_png(stored, name, profile, orientation))
        hints = ("-x", f"color_space={P3_TO_CJXL}") if name == "P3 by CICP" else ()
        subprocess.run(["cjxl", before, after, "-d", "0", "-e", "9", *hints], check=True, capture_output=True)
        return after.read_bytes()


def heic_of(stored: Pixels, name: str, profile: bytes | None, orientation: int) -> bytes:
    """By libheif and x265, 8 or 12 bits as red, green and blue; an orientation in EXIF becomes one of the container."""
    import pillow_heif  # noqa: PLC0415 (no dependency of the project: its encoder is under the GPL)

    pillow_heif.options.SAVE_HDR_TO_12_BIT = True
    modes = {(1, 1): "L", (3, 1): "RGB", (4, 1): "RGBA", (3, 2): "RGB;16", (4, 2): "RGBA;16"}
    pixels = np.ascontiguousarray(stored)
    mode = modes[pixels.shape[2], pixels.dtype.itemsize]
    primaries, transfer = DISPLAY_P3 if name == "P3 by CICP" else (1, 13)
    file, image = BytesIO(), pillow_heif.from_bytes(mode, pixels.shape[1::-1], pixels.tobytes())
    if profile is not None:
        image.info["icc_profile"], image.info["icc_profile_type"] = profile, "prof"
    image.save(
        file,
        quality=-1,
        chroma=444,
        matrix_coefficients=BT601 if name == "grey" else RED_GREEN_BLUE,
        color_primaries=primaries,
        transfer_characteristics=transfer,
        exif=exif_of(orientation),
    )
    return file.getvalue()


def coded_files() -> Iterator[tuple[str, bytes]]:
    """Names and files."""
    kinds = colour_kinds()
    for format_, names, depths in (("jxl", JXL_COLOURS, (8, 16)), ("heic", HEIC_COLOURS, (8, 12))):
        for name, depth, orientation, clear in itertools.product(names, depths, range(1, 9), (False, True)):
            if (name == "linear by gAMA" and depth == 8) or (format_ == "heic" and name == "grey" and (clear or depth == 12)):
                continue  # too few levels in the dark; pillow-heif writes no such grey
            numbers, _, profile = kinds[name]
            stored = stored_squares(numbers, 255 if depth == 8 else 65535, orientation, clear)
            data = {"jxl": jxl_of, "heic": heic_of}[format_](stored, name, profile, orientation)
            yield ", ".join((format_, f"{depth} bits", name, f"orientation {orientation}", *(["alpha"] if clear else []))), data


def main() -> int:
    """The same files give the same archive."""
    argparse.ArgumentParser(prog="python -m benchmarks.phone_files", description=str(__doc__).splitlines()[0]).parse_args()
    with tarfile.open(PHONE_FILES, "w:xz") as archive:
        for name, data in coded_files():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, BytesIO(data))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
