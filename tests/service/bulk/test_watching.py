"""A watched folder gives each file once it is whole, and again when it has changed."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from service.bulk import watching
from service.bulk.stores import Entry
from service.bulk.watching import is_unfinished, settled


@pytest.mark.parametrize(
    ("key", "unfinished"),
    [("a/b.png", False), ("a/b.PART", True), ("b.crdownload", True), (".hidden/b.png", True), ("a/.b.png", True), ("part", False)],
)
def test_copies_under_way_have_names_of_their_own(key: str, unfinished: bool) -> None:
    assert is_unfinished(key) == unfinished


class Looks:
    """A store that shows other entries at every look."""

    def __init__(self, *looks: list[Entry]) -> None:
        self.looks = list(looks)

    async def entries(self) -> AsyncIterator[Entry]:
        if not self.looks:
            raise EOFError
        for entry in self.looks.pop(0):
            yield entry


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    async def sleep(_: float) -> None:
        pass

    monkeypatch.setattr(watching.asyncio, "sleep", sleep)


async def given(*looks: list[Entry]) -> list[str]:
    """Keys and tags in the order in which they come, until there is nothing more to look at."""
    found: list[str] = []
    store: Any = Looks(*looks)
    with contextlib.suppress(EOFError):
        async for each in settled(store, 1.0):
            found.append(f"{each.key} {each.tag}")
    return found


def entry(tag: str, key: str = "a", size: int | None = 9) -> Entry:
    return Entry(key, size, tag)


async def test_a_file_comes_when_two_looks_see_the_same_and_once() -> None:
    assert await given([entry("1")], [entry("2")], [entry("2")], [entry("2")]) == ["a 2"]


async def test_a_file_that_changed_comes_again() -> None:
    assert await given([entry("1")], [entry("1")], [entry("2")], [entry("2")]) == ["a 1", "a 2"]


async def test_a_file_that_was_away_comes_again() -> None:
    assert await given([entry("1")], [entry("1")], [], [entry("1")], [entry("1")]) == ["a 1", "a 1"]


async def test_an_empty_file_and_one_under_way_do_not_come() -> None:
    looks = [entry("1", size=0), entry("1", "b.part"), entry("1", "c", size=None)]
    assert await given(looks, looks, looks) == ["c 1"]
