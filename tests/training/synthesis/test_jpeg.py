"""JPEG's arithmetic is Pillow's."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from training.synthesis import jpeg
from training.synthesis.draws import quantise


@pytest.mark.parametrize("quality", [30, 60, 90])
def test_jpeg_arithmetic_is_pillows(clean: torch.Tensor, quality: int) -> None:
    picture = clean[0, :, :64, :64]
    file = io.BytesIO()
    Image.fromarray(picture.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    theirs = torch.from_numpy(np.asarray(Image.open(file)).copy()).permute(2, 0, 1).float() / 255
    ours = quantise(jpeg.compress(picture[None].float() / 255, torch.tensor([float(quality)])))[0]
    lost = (theirs - picture / 255).square().mean()
    assert (ours - theirs).square().mean() < 0.35 * lost
