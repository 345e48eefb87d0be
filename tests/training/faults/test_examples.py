"""Examples know their faults, and the same dice make the same ones."""

import torch

from rddm.faults import FAULTS, NUMBERS, THUMBNAIL, WINDOW
from training.faults.__main__ import of_weights, train, varied
from training.faults.examples import INDEX, FaultyPictures, chosen, judged
from training.faults.network import FaultNetwork
from training.synthesis import drops, streaks
from training.synthesis.draws import Dice
from training.synthesis.sheet import pool_of


def dice(seed: int = 0) -> Dice:
    return Dice(torch.Generator().manual_seed(seed))


def pictures() -> FaultyPictures:
    smooth = torch.nn.functional.interpolate(torch.rand(4, 3, 6, 6, generator=torch.Generator().manual_seed(1)), size=(96, 96))
    maps = (pool_of(kind.render, 0, 4, side=96) for kind in (streaks, drops))
    return FaultyPictures((smooth * 255).to(torch.uint8), *maps)


def test_examples_have_the_shapes_that_the_network_takes() -> None:
    examples = pictures().draw(6, dice())
    assert examples.thumbnails.shape == (6, 3, THUMBNAIL, THUMBNAIL)
    assert examples.windows.shape == (6, 6, 3, WINDOW, WINDOW)
    assert examples.numbers.shape == (6, NUMBERS)
    logits = FaultNetwork().eval()(*varied(examples, dice()))
    assert logits.shape == examples.labels.shape == examples.weights.shape == (6, len(FAULTS))


def test_the_same_dice_draw_the_same_examples() -> None:
    source = pictures()
    first, second = (source.draw(6, dice(3)) for _ in range(2))
    for one, other in zip(first.tensors, second.tensors, strict=True):
        torch.testing.assert_close(one, other)


def test_a_fault_counts_by_how_much_it_changes() -> None:
    before = torch.full((3, 3, 16, 16), 0.5)
    after = before + torch.tensor([0.0, 4 / 255, 20 / 255])[:, None, None, None]
    labels, weights = judged(before, after, "rain")
    assert labels.tolist() == [0, 0, 1]
    assert weights[:, INDEX["rain"]].tolist() == [1, 0, 1]
    assert weights[:, INDEX["haze"]].tolist() == [1, 1, 1]


def test_names_are_drawn_with_their_shares() -> None:
    names = chosen({"a": 0.25, "b": 0.75}, 4000, dice())
    assert abs(names.count("a") / 4000 - 0.25) < 0.03


def test_an_earlier_run_with_fewer_numbers_answers_as_it_did() -> None:
    network = FaultNetwork().eval()
    weights = dict(network.state_dict())
    weights["judge.0.weight"] = weights["judge.0.weight"][:, :-9]
    later = of_weights(weights).eval()
    examples = pictures().draw(2, dice())
    parts = varied(examples, dice())
    with torch.no_grad():
        network.judge[0].weight[:, -9:] = 0
        torch.testing.assert_close(later(*parts), network(*parts))


def test_training_ends_with_its_time_and_is_reported() -> None:
    run = train(FaultNetwork(), pictures(), 0.5, lambda *_: None)
    assert run.steps >= 1
    assert run.seconds >= 0.5
    assert not run.network.training
