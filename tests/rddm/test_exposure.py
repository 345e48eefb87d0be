"""The tone curve in NumPy is the one that training learned in torch, and a picture's levels are computed once each."""

import numpy as np
import pytest
import torch

from rddm.exposure import TARGET, Brightness, Exposed, Exposure, Scene, brightness_of, exposure_of, over_levels
from rddm.spec import ModelSpec
from training.networks import exposure as trained


def learned(width: int = 64, seed: int = 0, brightness: bool = False) -> trained.Exposure:
    network = trained.Exposure(width, brightness)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.2)
    return network


def pixels(brightest: int, *shape: int) -> np.ndarray:
    drawn = np.random.default_rng(brightest).integers(0, brightest + 1, (len(shape) and shape[0], 3, *shape[1:]))
    return (drawn / 127.5 - 1).astype(np.float32)


@pytest.mark.parametrize("image", [pixels(255, 2, 64, 48), pixels(30, 1, 96, 96), pixels(3, 1, 48, 48), pixels(0, 1, 32, 32)])
def test_it_exposes_as_the_network_that_was_trained(image: np.ndarray) -> None:
    network = learned()
    with torch.no_grad():
        bright, code = network(torch.from_numpy(image), torch.from_numpy(image))
    curve = network.exported().of(image)
    np.testing.assert_allclose(curve.expose(image), bright.numpy() * 2 - 1, atol=3e-6)
    np.testing.assert_allclose(curve.code, code.numpy(), atol=3e-6)


@pytest.mark.parametrize("image", [pixels(60, 2, 64, 48), pixels(30, 1, 96, 96), pixels(3, 1, 48, 48)])
def test_it_estimates_the_brightness_as_the_network_that_was_trained(image: np.ndarray) -> None:
    network = learned(brightness=True)
    with torch.no_grad():
        bright, code = network(torch.from_numpy(image), torch.from_numpy(image), torch.zeros(len(image), 1))
        estimated = network.estimate(*network.seen(torch.from_numpy(image)))
    brightness = network.exported_brightness()
    assert brightness is not None
    scene = Scene.of(image)
    np.testing.assert_allclose(brightness.of(scene.brought_to(TARGET)[1]), estimated.numpy(), atol=3e-6)
    curve = network.exported().of(image, brightness)
    np.testing.assert_allclose(curve.expose(image), bright.numpy() * 2 - 1, atol=3e-6)
    np.testing.assert_allclose(curve.code, code.numpy(), atol=3e-6)
    assert not np.allclose(curve.gain, network.exported().of(image).gain)


def test_a_brightness_as_text_is_the_same_and_other_text_is_refused() -> None:
    brightness = learned(brightness=True).exported_brightness()
    assert brightness is not None
    text = brightness.to_text()
    assert brightness_of(text).to_text() == text
    for wrong in ("", "AAAA", text[:-8]):
        with pytest.raises(ValueError, match=r"brightness has \d+ finite values, not \d+|base64|padding|buffer"):
            Brightness.from_text(wrong)


def test_each_picture_of_a_batch_has_its_own_curve() -> None:
    images = np.concatenate([pixels(255, 1, 32, 32), pixels(20, 1, 32, 32)])
    together = learned().exported().of(images)
    for row in (0, 1):
        alone = learned().exported().of(images[row : row + 1])
        np.testing.assert_allclose(together.gain[row], alone.gain[0], rtol=1e-6)
        np.testing.assert_allclose(together.expose(images)[row], alone.expose(images[row : row + 1])[0], atol=1e-6)


@pytest.mark.parametrize("levels", [255, 65535])
def test_a_files_levels_are_computed_once_and_other_values_as_they_are(levels: int) -> None:
    asked: list[int] = []

    def curve(values: np.ndarray) -> np.ndarray:
        asked.append(values.size)
        return values**3

    of_file = (np.random.default_rng(0).integers(0, levels + 1, (512, 512)) / (levels / 2) - 1).astype(np.float32)
    np.testing.assert_array_equal(over_levels(curve, of_file), of_file**3)
    between = np.random.default_rng(0).uniform(-1, 1, (64, 64)).astype(np.float32)
    np.testing.assert_array_equal(over_levels(curve, between), between**3)
    *of_levels, of_others = asked
    assert sum(of_levels) <= levels + 1
    assert of_others == between.size


@pytest.mark.parametrize("levels", [255, 65535, None])
def test_a_part_that_is_exposed_alone_has_the_bytes_that_it_has_in_the_whole(levels: int | None) -> None:
    picture = np.random.default_rng(0).uniform(-1, 1, (1, 3, 96, 131)).astype(np.float32)
    if levels is not None:
        picture = (np.round((picture + 1) / 2 * levels) / (levels / 2) - 1).astype(np.float32)
    curve = learned().exported().of(picture)
    exposed = Exposed(curve, picture)
    np.testing.assert_array_equal(np.concatenate([picture, exposed], 1)[:, 3:], curve.expose(picture))
    for place in (np.s_[..., 16:80, :61], np.s_[..., 3:4, 130:]):
        np.testing.assert_array_equal(exposed[place], curve.expose(picture)[place])


def test_as_text_it_is_the_same_and_other_text_is_refused() -> None:
    text = learned(width=20).exported().to_text()
    assert exposure_of(text).width == 20
    assert exposure_of(text).to_text() == text
    for wrong in ("", "AAAA", text[:-8], "nothing"):
        with pytest.raises(ValueError, match=r"exposure|base64|padding|buffer|layers"):
            Exposure.from_text(wrong)


def test_the_code_lies_in_the_first_values_of_its_plane() -> None:
    curve = learned().exported().of(pixels(255, 1, 32, 32))
    plane = curve.plane(16, 24)
    assert plane.shape == (1, 1, 16, 24)
    np.testing.assert_array_equal(plane.ravel()[:64], curve.code[0])
    assert not plane.ravel()[64:].any()


def test_a_spec_says_what_an_exposure_needs() -> None:
    facts = {"name": "dark", "task": "dark", "licence": "Apache-2.0", "size_multiple": 16}
    text = learned().exported().to_text()
    brightness = learned(brightness=True).exported_brightness()
    assert brightness is not None
    assert ModelSpec(**facts, condition=("image", "exposed", "code"), exposure=text).condition_channels == 7
    assert ModelSpec(**facts, condition=("image", "exposed", "code"), exposure=text).sees_context
    for wrong, words in (
        ({"condition": ("image", "exposed", "code")}, "need an exposure"),
        ({"brightness": brightness.to_text()}, "a brightness chooses an exposure, and there is none"),
        ({"condition": ("image",), "exposure": text}, "must list 'image', 'exposed' and 'code'"),
        ({"condition": ("image", "exposed", "code"), "exposure": text, "size_multiple": 4}, "64 values does not fit into 4 x 4"),
    ):
        with pytest.raises(ValueError, match=words):
            ModelSpec(**(facts | wrong))
