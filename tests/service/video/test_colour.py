"""YUV and RGB by a stream's own matrix and range."""

import numpy as np
import pytest
from av.video.frame import VideoFrame

from service.errors import UnsupportedMedia
from service.video.colour import Converter, check_colours, layout_of, matrix_of
from service.video.facts import FULL, LIMITED, ColourTags


@pytest.mark.parametrize(
    ("name", "sampling", "bits", "depth"),
    [
        ("yuv420p", "420", 8, 8),
        ("yuv422p10le", "422", 10, 16),
        ("yuv444p12le", "444", 12, 16),
        ("nv12", "420", 8, 8),
        ("gray", "gray", 8, 8),
        ("gbrp", "rgb", 8, 8),
        ("yuv411p", "420", 8, 8),
    ],
)
def test_a_layout_has_ffmpegs_name(name: str, sampling: str, bits: int, depth: int) -> None:
    layout = layout_of(name)
    assert (layout.sampling, layout.bits, layout.depth) == (sampling, bits, depth)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pal8", "expected YUV, RGB or grey"),
        ("yuva420p", "with transparency"),
        ("gbrpf32le", "whole numbers"),
        ("bayer_rggb8", "expected YUV"),
    ],
)
def test_a_layout_that_is_not_read_is_refused_by_its_name(name: str, words: str) -> None:
    with pytest.raises(UnsupportedMedia, match=words) as refused:
        layout_of(name)
    assert name in str(refused.value)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        (ColourTags(transfer=16), r"high dynamic range, PQ \(SMPTE ST 2084\)"),
        (ColourTags(transfer=18), "HLG"),
        (ColourTags(matrix=8), "colour matrix YCgCo"),
        (ColourTags(matrix=11), "colour matrix 11"),
    ],
)
def test_colours_that_are_not_read_are_refused_in_words(tags: ColourTags, words: str) -> None:
    with pytest.raises(UnsupportedMedia, match=words):
        check_colours(tags)
    check_colours(ColourTags())


@pytest.mark.parametrize(("matrix", "height", "taken"), [(2, 720, 1), (2, 719, 6), (9, 100, 9), (5, 2000, 5)])
def test_an_untagged_stream_has_the_matrix_of_its_height(matrix: int, height: int, taken: int) -> None:
    assert matrix_of(ColourTags(matrix=matrix), height) == taken


def frame_of(name: str, *values: int) -> VideoFrame:
    """Flat planes of 16 x 16 pixels."""
    frame = VideoFrame(16, 16, name)
    for plane, value in zip(frame.planes, values, strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    return frame


@pytest.mark.parametrize(
    ("layout", "range_", "values", "rgb"),
    [
        ("yuv444p", LIMITED, (16, 128, 128), (0, 0, 0)),
        ("yuv444p", LIMITED, (235, 128, 128), (255, 255, 255)),
        ("yuv444p", LIMITED, (63, 102, 240), (255, 0, 0)),  # BT.709: pure red of limited range
        ("yuv444p", FULL, (0, 128, 128), (0, 0, 0)),
        ("yuv444p", FULL, (255, 128, 128), (255, 255, 255)),
        ("yuv420p", FULL, (54, 99, 255), (254, 0, 0)),
        ("gray", LIMITED, (235,), (255, 255, 255)),
        ("gray", FULL, (100,), (100, 100, 100)),
    ],
)
def test_known_colours_are_what_bt709_says(layout: str, range_: int, values: tuple[int, ...], rgb: tuple[int, ...]) -> None:
    layout_ = layout_of(layout)
    converter = Converter(ColourTags(matrix=1, range=range_), 720, layout_, layout_)
    pixels = converter.to_pixels(frame_of(layout, *values))
    assert pixels.shape == (16, 16, 3)
    assert np.abs(pixels[8, 8].astype(int) - rgb).max() <= 1


@pytest.mark.parametrize("range_", [LIMITED, FULL])
@pytest.mark.parametrize("name", ["yuv444p", "yuv420p", "gray", "gbrp"])
def test_a_clip_that_nothing_changes_comes_back_with_its_tags(name: str, range_: int) -> None:
    layout = layout_of(name)
    converter = Converter(ColourTags(1, range_, 1, 1), 720, layout, layout)
    sent = frame_of(name, *(120, 110, 140)[: 1 if name == "gray" else 3])
    back = converter.to_frame(converter.to_pixels(sent))
    assert (int(back.colorspace), int(back.color_range), int(back.color_trc)) == (1, range_, 1)
    for before, after in zip(sent.planes, back.planes, strict=True):
        assert abs(bytes(before)[0] - bytes(after)[0]) <= 1
