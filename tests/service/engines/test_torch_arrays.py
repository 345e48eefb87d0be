"""Sampler state in torch: the code that runs on a GPU, driven on CPU tensors where there is none."""

import pytest

from service.engines.torch_arrays import find_device
from service.errors import EngineUnavailable


def test_an_unknown_or_absent_device_is_named() -> None:
    with pytest.raises(ValueError, match=r"'meta' is not served; expected one of \['cuda', 'cpu'\]"):
        find_device("meta")
    with pytest.raises(EngineUnavailable, match=r"no device 'cuda:99'; torch sees \d+ GPUs"):
        find_device("cuda:99")
