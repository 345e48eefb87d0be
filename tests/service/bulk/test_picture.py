"""The recipe, the key of a result, and patience with a busy store."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from service.bulk.picture import MOST_TRIES, BatchJob, patiently, recipe_of, target_key
from service.bulk.stores import StoreError
from service.errors import QueueFull
from service.restoration.parameters import RestoreParameters

RESTORER: Any = SimpleNamespace(digest="ab", steps=2, at_once=1)


def recipe(restorer: Any = RESTORER, **parameters: Any) -> str:
    return recipe_of(restorer, RestoreParameters.model_validate(parameters))


def test_a_recipe_changes_with_all_that_changes_the_result_and_nothing_else() -> None:
    assert len(recipe()) == 16
    assert recipe(max_latency_ms=9) == recipe() == recipe(steps=2)
    others = {
        recipe(seed=1),
        recipe(format="png"),
        recipe(SimpleNamespace(digest="cd", steps=2)),
        recipe(SimpleNamespace(digest="ab", steps=3)),
    }
    assert len(others | {recipe()}) == 5


@pytest.mark.parametrize(
    ("key", "target"),
    [("a/b.jpg", "a/b.jpg"), ("a/b.JPEG", "a/b.JPEG"), ("a/b.png", "a/b.png.jpg"), ("a.png/b", "a.png/b"), ("b.", "b..jpg")],
)
def test_a_key_whose_suffix_belongs_to_another_format_gets_the_right_one(key: str, target: str) -> None:
    assert target_key(key, (".jpg", ".jpeg")) == target


def test_a_shards_records_have_a_name_of_their_own() -> None:
    assert BatchJob(RestoreParameters(), shard=(3, 8)).log == "records-00003-of-00008"


class Busy:
    """Fails some times, then answers."""

    def __init__(self, times: int, error: Exception) -> None:
        self.left, self.error, self.calls = times, error, 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.left:
            raise self.error
        return "answer"


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What was waited for, without waiting."""
    kept: list[float] = []

    async def sleep(seconds: float) -> None:
        kept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return kept


async def test_what_passes_is_tried_again_after_longer_pauses(pauses: list[float]) -> None:
    assert await patiently(Busy(3, QueueFull("full"))) == "answer"
    assert len(pauses) == 3
    assert all(0.125 * 2**n <= pause <= 0.375 * 2**n for n, pause in enumerate(pauses))


async def test_patience_ends(pauses: list[float]) -> None:
    busy = Busy(99, StoreError("busy", transient=True))
    with pytest.raises(StoreError, match="busy"):
        await patiently(busy)
    assert busy.calls == MOST_TRIES


async def test_what_does_not_pass_is_not_tried_again(pauses: list[float]) -> None:
    busy = Busy(1, StoreError("denied"))
    with pytest.raises(StoreError, match="denied"):
        await patiently(busy)
    assert (busy.calls, pauses) == (1, [])
