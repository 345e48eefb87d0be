"""A step's own time limit follows what steps have cost."""

import pytest

from service.engines.triton.engine import resolve, split_url
from service.engines.triton.step_timeout import FACTOR, FLOOR_SECONDS, StepTimeout
from tests.calls import picture


def test_while_nothing_is_measured_the_longest_step_is_allowed() -> None:
    assert StepTimeout(60).allowed(picture(), 0) == 60


def test_larger_batches_and_waiting_calls_are_given_longer_up_to_the_longest() -> None:
    timeout = StepTimeout(60)
    timeout.measured(picture(1), 0.1)
    assert timeout.allowed(picture(1), 0) == pytest.approx(FLOOR_SECONDS + FACTOR * 0.1)
    assert timeout.allowed(picture(4), 0) == pytest.approx(FLOOR_SECONDS + FACTOR * 0.4)
    assert timeout.allowed(picture(1), 2) == pytest.approx(FLOOR_SECONDS + FACTOR * 0.3)
    assert timeout.allowed(picture(100), 9) == 60


def test_the_average_follows_a_machine_that_becomes_slower() -> None:
    timeout = StepTimeout(60)
    timeout.measured(picture(1), 0.1)
    for _ in range(30):
        timeout.measured(picture(1), 0.5)
    assert timeout.allowed(picture(1), 0) == pytest.approx(FLOOR_SECONDS + FACTOR * 0.5, rel=0.01)


@pytest.mark.parametrize("wrong", ["triton", "triton:", ":8001", "triton:http", "http://triton:8001", "triton:99999"])
def test_an_address_that_is_none_is_named(wrong: str) -> None:
    with pytest.raises(ValueError, match=f"'{wrong}' is no address of a Triton server; expected host:port"):
        split_url(wrong)


async def test_names_become_addresses_and_one_that_is_unknown_changes_nothing() -> None:
    assert await resolve(["127.0.0.1:1", "[::1]:2"]) == {"127.0.0.1:1", "[::1]:2"}
    assert "127.0.0.1:3" in (await resolve(["localhost:3"]) or set())
    assert await resolve(["no-such-host.invalid:1"]) is None
