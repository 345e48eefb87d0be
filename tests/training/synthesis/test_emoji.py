"""Glyphs are coloured pictures on white, some held out."""

import pytest
import torch

from tests.training.synthesis.conftest import dice
from training.synthesis.emoji import Emoji, find_font, render_all, split


def test_emoji_draws_keep_to_the_training_glyphs() -> None:
    glyphs = torch.arange(20, dtype=torch.uint8)[:, None, None, None].expand(20, 3, 16, 16).contiguous()
    training, held_out = split(glyphs)
    drawn = ((Emoji(training).draw(200, dice()).target[:, 0, 0, 0] + 1) * 127.5).round().unique()
    assert len(held_out) == 2
    assert not set(drawn.int().tolist()) & {0, 10}
    assert len(drawn) == 18


def test_glyphs_are_coloured_pictures_on_white() -> None:
    try:
        find_font()
    except FileNotFoundError as missing:
        pytest.skip(str(missing))
    glyphs = render_all(32)
    assert len(glyphs) > 1000
    assert 100 < len(render_all(32, "faces")) < 200
    with pytest.raises(ValueError, match="unknown set of glyphs 'flags'"):
        render_all(32, "flags")
    assert bool((glyphs[:, :, 0] == 255).all())
    assert float((glyphs.amax(1) - glyphs.amin(1)).float().mean()) > 20
