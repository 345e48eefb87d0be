"""Maps of rain."""

import numpy as np
import pytest

from training.synthesis.streaks import blurred_layer, drawn_layer, layers_of, render


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("seed", range(4))
def test_a_map_of_each_kind_is_rain_and_the_same_again(seed: int) -> None:
    rain = render(seed, 64)
    assert (rain.shape, rain.dtype) == ((64, 64, 1), np.uint8)
    assert rain.max() > 0
    assert rain.std() > 0
    assert np.array_equal(rain, render(seed, 64))


@pytest.mark.parametrize("kind", ["light", "soft", "curtain", "bars"])
def test_layers_are_of_the_size_and_not_negative(kind: str) -> None:
    for seed in range(3):
        layers = layers_of(kind, rng(seed), 48)
        assert layers
        assert all(layer.shape == (48, 48) and layer.dtype == np.float32 and layer.min() >= 0 for layer in layers)


def test_upright_streaks_change_more_across_than_along() -> None:
    for layer in (drawn_layer(rng(1), 96, 0.0, 0.3), blurred_layer(rng(1), 96, 0.0)):
        assert np.abs(np.diff(layer, axis=1)).mean() > 1.5 * np.abs(np.diff(layer, axis=0)).mean()


def test_near_streaks_are_fewer_and_softer_than_far_ones() -> None:
    far, near = (np.stack([drawn_layer(rng(seed), 96, 0.0, depth) for seed in range(6)]) for depth in (0.0, 1.0))
    assert np.abs(np.diff(near, axis=2)).max() < np.abs(np.diff(far, axis=2)).max()


def test_a_crowd_is_more_rain() -> None:
    few, many = (np.mean([drawn_layer(rng(seed), 96, 0.0, 0.3, crowd).mean() for seed in range(4)]) for crowd in (1.0, 4.0))
    assert many > 1.5 * few
