"""A network that cannot serve a spec is refused."""

import pytest

from rddm.spec import ModelSpec
from tests.training.networks.test_small import TINY
from training.networks import SmallConfig, check_fits


def test_a_network_that_cannot_serve_the_spec_is_refused() -> None:
    spec = ModelSpec(name="x", task="x", licence="x", condition=("image", "context"))
    with pytest.raises(ValueError, match="condition is"):
        check_fits(TINY, spec)
    with pytest.raises(ValueError, match="needs 1 outputs, the network has 2"):
        check_fits(TINY.model_copy(update={"outputs": 2}), spec.model_copy(update={"condition": ("image",)}))
    with pytest.raises(ValueError, match="size_multiple"):
        check_fits(SmallConfig(widths=(8,) * 5, depths=(1,) * 5), spec.model_copy(update={"condition": ("image",)}))
