"""A recipe's data section leads to two sources that share no clean picture."""

import pytest
import torch
from torch import Tensor

from tests.training.runs import dice
from training.data import datasets
from training.data.datasets import MAP_SIDE, make_sources
from training.recipe import SynthesisData

CPU = torch.device("cpu")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """The pools that were asked for; picture k of one has the level k, and maps have the level 128."""
    kept: list[tuple[str, int, int]] = []

    def pool(kind: str, count: int, side: int, *_: object, **__: object) -> Tensor:
        kept.append((kind, count, side))
        if kind in {"streaks", "drops"}:
            return torch.full((count, {"streaks": 1, "drops": 4}[kind], side, side), 128, dtype=torch.uint8)
        levels = torch.arange(count, dtype=torch.uint8) * 20
        return levels[:, None, None, None].expand(count, 3, side, side).contiguous()

    monkeypatch.setattr(datasets, "load_pool", pool)
    return kept


def test_what_is_held_out_is_for_validation_alone(asked: list[tuple[str, int, int]]) -> None:
    data = SynthesisData(kind="clean", pictures=10, side=64, crop=32, holdout=3)
    training, held_out = make_sources(data, None, CPU)
    assert (len(training.pool), len(held_out.pool)) == (7, 3)  # type: ignore[attr-defined]
    assert {int(each) for each in held_out.pool[:, 0, 0, 0]} == {140, 160, 180}  # type: ignore[attr-defined]
    assert asked == [("photographic", 10, 64)]


@pytest.mark.parametrize(("kind", "maps"), [("rain", "streaks"), ("raindrop", "drops")])
def test_maps_are_rendered_for_the_kinds_that_have_some(asked: list[tuple[str, int, int]], kind: str, maps: str) -> None:
    training, _ = make_sources(SynthesisData(kind=kind, pictures=6, side=64, crop=32, maps=2, holdout=2), None, CPU)
    assert asked == [("mixed", 6, 64), (maps, 2, MAP_SIDE)]
    pairs = training.draw(2, dice())
    assert pairs.target.shape == pairs.given.shape == (2, 3, 32, 32)


def test_scenes_that_are_named_beat_the_kinds_own(asked: list[tuple[str, int, int]]) -> None:
    make_sources(SynthesisData(kind="clean", scenes="mixed", pictures=4, side=64, crop=32, holdout=1), None, CPU)
    assert asked[0][0] == "mixed"
