"""Work says what it asks of the engine, and is refused where its model cannot do it."""

import numpy as np
import pytest

from service.errors import InvalidValue
from service.sampling.pipeline import Pipeline
from service.sampling.work import Result, Work
from tests.service.fakes import FakeEngine, model_of, picture


def work_of(height: int, width: int, steps: int = 3, **facts) -> Work:
    return Work(
        **{"model": model_of(), "steps": steps, "seed": 5, "request": "r", "caller": "c", "x_in": picture(height, width), **facts}
    )


def test_its_ticket_and_its_calls_are_those_of_its_model_and_request() -> None:
    work = work_of(40, 24, deadline=9.0)
    assert (work.ticket.request, work.ticket.caller, work.ticket.deadline) == ("r", "c", 9.0)
    assert (work.ticket.weights, 40, 24) == work.shape
    assert (work.size, work.tiles, work.members) == ((40, 24), 1, 1)


def test_its_ticket_says_whether_its_calls_are_tiles_of_free_size() -> None:
    free, fixed = model_of(most_pixels=64 * 64), model_of(sizes=((64, 64),), most_pixels=None)
    assert [work_of(64, side, model=free).ticket.tiled for side in (64, 80)] == [False, True]
    assert (work_of(64, 80, model=fixed).tiles > 1, work_of(64, 80, model=fixed).ticket.tiled) == (True, False)
    assert not work_of(64, 64, model=free, flips=True).ticket.tiled


def test_an_x_0_that_was_not_kept_is_not_made_up() -> None:
    kept = Result(np.zeros((2, 3, 3), np.uint8), np.zeros((1, 3, 2, 3), np.float32))
    assert [array.shape for array in kept.arrays] == [(2, 3, 3), (1, 3, 2, 3)]
    with pytest.raises(ValueError, match="x_0 was not kept"):
        _ = Result(kept.pixels).x_0


def test_two_pass_orders_count_twice() -> None:
    once, twice = (Work(model_of(order=order), 5, 0, "r", "c", picture(64, 64)) for order in ("simultaneous", "noise_first"))
    assert twice.megapixel_steps == 2 * once.megapixel_steps


@pytest.mark.parametrize(
    ("work", "says"),
    [
        (work_of(8, 8, steps=0), "steps = 0 is outside"),
        (work_of(8, 8, method="SM-N"), "cannot be sampled with 'SM-N'"),
        (work_of(8, 8, mask=picture(8, 8)), "takes no mask"),
        (work_of(8, 8, model=model_of(condition=("image", "mask"))), "needs a mask"),
        (work_of(8, 8, model=model_of(condition=("image", "mask")), mask=picture(8, 9)), "expected the same"),
        (Work(model_of(), 3, 0, "r", "c"), "none was given"),
        (work_of(8, 8, model=model_of(start="noise", condition=(), image_size=(8, 8))), "takes none"),
    ],
)
async def test_work_that_the_model_cannot_do_is_refused_by_name(work: Work, says: str) -> None:
    with pytest.raises(InvalidValue, match=says):
        await Pipeline(FakeEngine()).run(work)
