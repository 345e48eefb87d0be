"""What is done to given pixels before all else."""

import numpy as np
import pytest

from rddm.image import prepared


def test_preprocessing_runs_what_the_spec_names() -> None:
    dark = np.random.default_rng(0).integers(0, 20, (32, 32, 3), dtype=np.uint8)
    assert prepared(dark, ()) is dark
    flat = prepared(dark, ("equalize_histogram",))
    assert (flat.min(), flat.max()) == (0, 255)
    deep = prepared(dark.astype(np.uint16) * 257, ("equalize_histogram",))
    assert np.abs(deep / 257 - flat).max() <= 0.51
    with pytest.raises(ValueError, match=r"unknown preprocessing 'sharpen'; expected one of \['equalize_histogram'\]"):
        prepared(dark, ("sharpen",))
