"""The average of the weights copies, then follows."""

import pytest
import torch

from training.ema import Ema
from training.recipe import EmaConfig


def test_the_average_copies_then_follows() -> None:
    line = torch.nn.Linear(1, 1, bias=False)
    ema = Ema(line, EmaConfig(beta=0.9, update_every=1, update_after_step=2))
    seen = []
    for value in (1.0, 2.0, 3.0, 4.0, 5.0):
        torch.nn.init.constant_(line.weight, value)
        ema.update(line)
        seen.append(float(ema.average.weight.detach()))
    assert seen[:4] == [1.0, 2.0, 3.0, 4.0]
    assert seen[4] == pytest.approx(4 + 3 ** (-2 / 3))
