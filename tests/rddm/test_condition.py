"""A picture is padded by mirroring, its context keeps its mean, and what the spec lists is concatenated in its order."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rddm.condition import concatenated, context, pad, padded_noise, parts_of, picture_noise, restore_whole, windows
from rddm.graph import CONDITION, X_T
from rddm.spec import ModelSpec

SPEC = ModelSpec(name="m", task="m", licence="Apache-2.0", size_multiple=8)
sides = st.integers(1, 700)


def shares(length: int, size: int) -> np.ndarray:
    """Averaging by area along one axis, as a matrix (size, length): row i holds what each input pixel gives to output pixel i."""
    edges = np.arange(size + 1) * (length / size)
    pixels = np.arange(length)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.asarray(covered.clip(0) * (size / length), dtype=np.float32)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (5, 8), (8, 8)])
def test_padding_mirrors_and_keeps_the_picture(height: int, width: int) -> None:
    field = np.arange(3 * height * width, dtype=np.float32).reshape(1, 3, height, width)
    grown = pad(field, 8, 8)
    assert grown.shape == (1, 3, 8, 8)
    assert np.array_equal(grown[..., :height, :width], field)
    assert set(np.unique(grown)) == set(np.unique(field))


def test_context_averages_by_area() -> None:
    x_in = np.random.default_rng(0).normal(size=(2, 3, 64, 96)).astype(np.float32)
    assert np.abs(context(x_in, 32, 32) - x_in.reshape(2, 3, 32, 2, 32, 3).mean((3, 5))).max() < 1e-6


@given(st.integers(1, 4000), st.integers(1, 900))
@settings(max_examples=40, deadline=None)
def test_windows_are_what_is_not_zero_of_the_shares(length: int, size: int) -> None:
    for row, (start, weights) in zip(shares(length, size), windows(length, size), strict=True):
        assert np.array_equal(np.flatnonzero(row), np.arange(start, start + len(weights)))
        assert np.array_equal(row[row > 0], weights)


@given(sides, sides, st.integers(1, 80), st.integers(1, 80))
@settings(max_examples=40, deadline=None)
def test_context_keeps_the_mean_whatever_the_sizes(height: int, width: int, rows: int, columns: int) -> None:
    x_in = np.random.default_rng(1).uniform(-1, 1, (1, 3, height, width)).astype(np.float32)
    shrunk = context(x_in, rows, columns)
    assert shrunk.shape == (1, 3, rows, columns)
    assert np.abs(shrunk.mean((2, 3)) - x_in.mean((2, 3))).max() < 1e-5


def test_context_is_the_product_of_its_shares() -> None:
    x_in = np.random.default_rng(2).uniform(-1, 1, (1, 3, 257, 255)).astype(np.float32)
    assert np.abs(context(x_in, 64, 32) - shares(257, 64) @ x_in @ shares(255, 32).T).max() < 1e-6


def test_a_picture_of_the_wanted_size_is_its_own_context() -> None:
    x_in = np.zeros((1, 3, 32, 32), np.float32)
    assert context(x_in, 32, 32) is x_in


CONTEXT_DIGEST = """
import hashlib, numpy
from rddm.condition import context
x_in = numpy.random.default_rng(3).uniform(-1, 1, (1, 3, 400, 600)).astype(numpy.float32)
print(*(hashlib.sha256(context(x_in, *size)).hexdigest() for size in ((400, 608), (64, 64))))
"""


def test_the_context_has_the_same_bytes_with_any_number_of_blas_threads() -> None:
    environments = [os.environ | {"OPENBLAS_NUM_THREADS": threads} for threads in ("1", "2", "3")]
    digests = {subprocess.check_output([sys.executable, "-c", CONTEXT_DIGEST], env=env, text=True) for env in environments}
    assert len(digests) == 1


def image(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (1, 3, height, width)).astype(np.float32)


def test_parts_are_padded_but_the_context_is_of_the_picture_itself() -> None:
    spec = SPEC.model_copy(update={"condition": ("context", "mask", "image")})
    x_in, mask = image(13, 21), image(13, 21, seed=1)
    parts = parts_of(spec, x_in, mask, (16, 24), (8, 8))
    assert list(parts) == ["context", "mask", "image"]
    assert np.array_equal(parts["image"], pad(x_in, 16, 24))
    assert np.array_equal(parts["mask"], pad(mask, 16, 24))
    assert np.array_equal(parts["context"], context(x_in, 8, 8))


def test_an_optional_mask_that_is_missing_is_zero_and_a_needed_one_is_named() -> None:
    facts = {"name": "a", "task": "a", "licence": "MIT", "condition": ("image", "mask"), "size_multiple": 8}
    x_in = np.ones((1, 3, 5, 6), np.float32)
    parts = parts_of(ModelSpec.model_validate({**facts, "mask_optional": True}), x_in, None, (8, 8), (8, 8))
    assert (parts["mask"].shape, parts["mask"].any()) == ((1, 3, 8, 8), False)
    with pytest.raises(ValueError, match="a needs 'mask'"):
        parts_of(ModelSpec.model_validate(facts), x_in, None, (8, 8), (8, 8))
    with pytest.raises(ValueError, match="mask_optional is True, but condition"):
        ModelSpec.model_validate({**facts, "condition": ("image",), "mask_optional": True})


def test_parts_are_concatenated_in_the_specs_order() -> None:
    spec = SPEC.model_copy(update={"condition": ("mask", "image")})
    x_in, mask = image(8, 8), image(8, 8, seed=1)
    assert np.array_equal(concatenated(spec, {"image": x_in, "mask": mask}), np.concatenate([mask, x_in], 1))
    assert concatenated(SPEC.model_copy(update={"condition": ()}), {}) is None


def test_a_missing_part_is_named() -> None:
    spec = SPEC.model_copy(update={"condition": ("image", "mask")})
    with pytest.raises(ValueError, match="m needs 'mask' as a condition"):
        concatenated(spec, {"image": image(8, 8), "mask": None})
    with pytest.raises(ValueError, match="m needs 'mask' as a condition"):
        restore_whole(lambda feeds: [feeds[X_T]], spec, image(8, 8))


def test_noise_is_drawn_at_the_pictures_own_size_and_mirrored() -> None:
    own, grown = picture_noise(3, 5, 9), padded_noise(picture_noise(3, 5, 9), 8, 16)
    assert np.array_equal(grown(2), pad(own(2), 8, 16))
    assert np.array_equal(grown(2)[..., :5, :9], own(2))


def test_pictures_of_a_batch_are_restored_as_they_are_alone() -> None:
    def network(feeds):
        return [0.1 * feeds[X_T] + 0.2 * feeds[CONDITION]]

    pictures = np.concatenate([image(13, 21, seed) for seed in (0, 1)])
    together = restore_whole(network, SPEC, pictures, 3, [7, 8])
    for row, seed in enumerate((7, 8)):
        assert np.array_equal(together[row : row + 1], restore_whole(network, SPEC, pictures[row : row + 1], 3, [seed]))


def test_a_batch_needs_a_seed_for_each_picture() -> None:
    with pytest.raises(ValueError, match="2 pictures need as many seeds, got 1"):
        restore_whole(lambda feeds: [feeds[X_T]], SPEC, np.zeros((2, 3, 8, 8), np.float32))
