"""What Pillow's modes become, and what of its metadata is used."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from service.errors import TooLarge, UnsupportedMedia
from service.pictures.eight_bits import MOST_METADATA, check_frames, metadata_in, resolution, samples_of, saved
from service.pictures.formats import FORMATS
from service.pictures.picture import Outgoing
from tests.service.conftest import pixels_of


@pytest.mark.parametrize(
    ("mode", "space", "alpha"),
    [
        *[("1", "gray", False), ("L", "gray", False), ("LA", "gray", True), ("P", "rgb", False), ("RGB", "rgb", False)],
        *[("RGBA", "rgb", True), ("YCbCr", "rgb", False), ("CMYK", "cmyk", False)],
    ],
)
def test_a_mode_has_its_space_and_its_alpha(mode: str, space: str, alpha: bool) -> None:
    samples = samples_of(Image.fromarray(pixels_of(5, 7)).convert(mode))
    assert (samples.space, samples.alpha is not None) == (space, alpha)
    assert samples.colour.shape == {"gray": (5, 7), "rgb": (5, 7, 3), "cmyk": (5, 7, 4)}[space]
    assert samples.colour.dtype == np.uint8


def test_a_transparent_colour_of_a_palette_is_alpha() -> None:
    picture = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    picture.info["transparency"] = 1
    samples = samples_of(picture)
    assert samples.alpha is not None
    assert samples.alpha.tolist() == [[255, 0]]


@pytest.mark.parametrize("mode", ["I", "F", "I;16"])
def test_a_mode_of_more_bits_is_refused_by_its_name(mode: str) -> None:
    with pytest.raises(UnsupportedMedia, match=f"samples of mode {mode} are not read here; expected 8 or 16 unsigned bits"):
        samples_of(Image.new(mode, (2, 2)))


def test_an_animation_is_too_large() -> None:
    file = BytesIO()
    Image.new("L", (4, 4)).save(file, "WEBP", save_all=True, append_images=[Image.new("L", (4, 4), 99)])
    with Image.open(file) as animation, pytest.raises(TooLarge, match="the picture has 2 frames; 1 is allowed"):
        check_frames(animation)
    check_frames(Image.new("L", (4, 4)))


def test_metadata_is_taken_from_where_pillow_puts_it() -> None:
    metadata = metadata_in({"exif": b"Exif\0\0II*\0", "xmp": "<x/>", "dpi": (300, 150)})
    assert metadata == {"exif": b"II*\0", "xmp": b"<x/>", "dpi": (300.0, 150.0)}


@pytest.mark.parametrize("value", [None, b"", 7, b"x" * (MOST_METADATA + 1)])
def test_metadata_of_no_use_is_none(value: object) -> None:
    assert metadata_in({"exif": value, "xmp": value, "dpi": value}) == {"exif": None, "xmp": None, "dpi": None}


@pytest.mark.parametrize(
    ("across", "down", "known"), [(1, 65535, True), (0.5, 300, False), (300, 70_000, False), (float("nan"), 1, False)]
)
def test_a_resolution_that_cannot_be_is_none(across: float, down: float, known: bool) -> None:
    assert resolution(across, down) == ((across, down) if known else None)


def test_a_file_has_the_quality_that_is_asked_for_and_the_profile() -> None:
    pixels = pixels_of(40, 60)
    files = [saved(Outgoing(pixels, FORMATS["jpeg"], profile=b"p" * 200, quality=quality), "JPEG") for quality in (None, 20)]
    assert len(files[1]) < len(files[0])
    assert Image.open(BytesIO(files[0])).info["icc_profile"] == b"p" * 200
