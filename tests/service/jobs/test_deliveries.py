"""Messages to webhooks are kept until they arrived."""

from collections.abc import AsyncIterator

import pytest

from service.jobs.deliveries import AT_ONCE, Delivery, DeliveryStore, add_deliveries
from service.storage.sqlite import SqliteDatabase


def deliveries(count: int) -> list[Delivery]:
    return [Delivery(f"d{index:02}", "https://a.example/", "{}") for index in range(count)]


@pytest.fixture
async def database() -> AsyncIterator[SqliteDatabase]:
    one = SqliteDatabase(None)
    yield one
    await one.aclose()


@pytest.fixture
async def store(database: SqliteDatabase) -> DeliveryStore:
    made = DeliveryStore(database)
    await made.open()
    return made


async def test_what_is_claimed_is_nobody_elses_for_a_while(database: SqliteDatabase, store: DeliveryStore) -> None:
    await database.run(lambda tx: add_deliveries(tx, deliveries(AT_ONCE + 2)))
    first, second = await store.claim(), await store.claim()
    assert [len(first), len(second)] == [AT_ONCE, 2]
    assert {one.attempts for one in first} == {1}
    assert await store.claim() == []
    assert await store.count() == AT_ONCE + 2


async def test_one_that_arrived_is_gone(database: SqliteDatabase, store: DeliveryStore) -> None:
    await database.run(lambda tx: add_deliveries(tx, deliveries(2)))
    [first, second] = await store.claim()
    await store.remove(first)
    assert await store.count() == 1
    await store.postpone(second, -1)
    assert await store.claim() == [Delivery(second.id, second.url, second.body, 2)]


async def test_one_that_is_postponed_waits(database: SqliteDatabase, store: DeliveryStore) -> None:
    await database.run(lambda tx: add_deliveries(tx, deliveries(1)))
    [one] = await store.claim()
    await store.postpone(one, 60)
    assert await store.claim() == []


async def test_a_message_is_added_once(database: SqliteDatabase, store: DeliveryStore) -> None:
    for _ in range(2):
        await database.run(lambda tx: add_deliveries(tx, deliveries(1)))
    assert await store.count() == 1


async def test_a_restart_sends_again_what_was_being_sent(database: SqliteDatabase, store: DeliveryStore) -> None:
    await database.run(lambda tx: add_deliveries(tx, deliveries(1)))
    await store.claim()
    await DeliveryStore(database).open()
    assert len(await store.claim()) == 1
