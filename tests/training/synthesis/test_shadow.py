"""Shadows only darken."""

import torch

from tests.training.synthesis.conftest import dice
from training.synthesis import shadow


def test_shadows_only_darken_and_leave_the_lit_part(clean: torch.Tensor) -> None:
    picture = clean[:6, :, :64, :64].float() / 255
    dark, where = shadow.shaded(picture, dice(6))
    assert float((dark - picture).max()) < 0.05
    lit = (where == 0).expand(-1, 3, -1, -1)
    assert float((dark - picture)[lit].abs().mean()) < 0.01
    deep = (where == 1).expand(-1, 3, -1, -1)
    assert float((picture - dark)[deep].mean()) > 0.03


def test_half_of_the_shadows_are_marked_and_a_mask_covers_its_shadow(clean: torch.Tensor) -> None:
    pairs = shadow.Shadow(clean, crop=64, whole=64).draw(48, dice(7))
    assert pairs.mask is not None
    assert set(pairs.mask.unique().tolist()) == {0.0, 1.0}
    marked = pairs.mask.amax((1, 2, 3)) > 0
    assert 12 < int(marked.sum()) < 34
    darker = (pairs.target - pairs.given).mean(1, keepdim=True)
    covered = [
        float(dark[mask > 0].mean() - dark[mask == 0].mean())
        for dark, mask in zip(darker, pairs.mask[:, :1], strict=True)
        if 0 < float(mask.mean()) < 1
    ]
    assert sum(difference > 0 for difference in covered) > 0.9 * len(covered)


def test_a_drawn_mask_is_no_smaller_than_its_shadow() -> None:
    where = torch.zeros(30, 1, 40, 40)
    where[:, :, 15:25, 15:25] = 1
    masks = shadow.marked(where, dice(8))
    assert bool((masks >= where).all())
    assert sorted({int(side) for side in masks.sum((1, 2, 3)).sqrt()}) == [10, 14, 22]
