"""A listing that is asked before it is needed."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from service.bulk.stores import Entry, StoreError, listed_ahead


async def test_the_first_entry_is_fetched_while_the_block_does_something_else() -> None:
    asked: list[str] = []

    async def entries() -> AsyncIterator[Entry]:
        for key in ("a", "b", "c"):
            asked.append(key)
            yield Entry(key)

    async with listed_ahead(entries()) as listed:
        assert asked == ["a"]
        assert [entry.key async for entry in listed] == ["a", "b", "c"]


async def test_an_error_of_the_listing_comes_where_it_is_read() -> None:
    async def entries() -> AsyncIterator[Entry]:
        raise StoreError("the bucket is gone", fatal=True)
        yield Entry("never")

    async with listed_ahead(entries()) as listed:
        with pytest.raises(StoreError, match="the bucket is gone"):
            await anext(listed)


async def test_a_listing_that_nobody_reads_is_given_up() -> None:
    given_up = asyncio.Event()

    async def entries() -> AsyncIterator[Entry]:
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()
        yield Entry("never")

    async with listed_ahead(entries()):
        assert not given_up.is_set()
    assert given_up.is_set()
