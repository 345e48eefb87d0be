"""What is done to given pixels before all else."""

import numpy as np
import pytest
from PIL import Image

from rddm.image import enlarged, prepared


def test_preprocessing_runs_what_the_spec_names() -> None:
    dark = np.random.default_rng(0).integers(0, 20, (32, 32, 3), dtype=np.uint8)
    assert prepared(dark, ()) is dark
    flat = prepared(dark, ("equalize_histogram",))
    assert (flat.min(), flat.max()) == (0, 255)
    deep = prepared(dark.astype(np.uint16) * 257, ("equalize_histogram",))
    assert np.abs(deep / 257 - flat).max() <= 0.51
    with pytest.raises(ValueError, match=r"unknown preprocessing 'sharpen'; expected one of \['equalize_histogram', 'repeat_2'"):
        prepared(dark, ("sharpen",))


def test_enlargement_is_pillows_bicubic_for_bytes_and_alike_for_16_bits() -> None:
    smooth = np.linspace(20, 230, 8 * 10 * 3).reshape(8, 10, 3).astype(np.uint8)
    wide = enlarged(smooth, 2)
    assert wide.shape == (16, 20, 3)
    assert np.array_equal(wide, np.asarray(Image.fromarray(smooth).resize((20, 16), Image.Resampling.BICUBIC)))
    deep = enlarged(smooth.astype(np.uint16) * 257, 2)
    assert deep.dtype == np.uint16
    assert np.abs(deep / 257 - wide).max() < 1.5  # Pillow rounds bytes after each pass
    assert enlarged(smooth, 1) is smooth
