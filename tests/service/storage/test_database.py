"""The same statements mean the same on both databases."""

import asyncio
from typing import Any

import pytest

from service.errors import QuotaSpent, StoreUnavailable
from service.keys import Key, Keyring, SharedQuota
from service.results.stored import ResponseCache, StoredResponse
from service.storage import Database, Transaction, open_database
from tests.postgres import Postgres

TABLE = "create table if not exists rddm_quotas (name text primary key, units {real} not null, at {real} not null)"


async def test_what_raises_leaves_nothing(database: Database) -> None:
    await database.run(lambda tx: tx.execute(TABLE), exclusive=True)

    def act(tx: Transaction) -> None:
        tx.execute("insert into rddm_quotas (name, units, at) values (?, ?, ?)", "ann", 1.0, tx.now)
        raise KeyError("no")

    with pytest.raises(KeyError):
        await database.run(act)
    assert await database.run(lambda tx: tx.execute("select name from rddm_quotas")) == []


async def test_exclusive_transactions_see_each_others_writes(database: Database) -> None:
    await database.run(lambda tx: tx.execute(TABLE), exclusive=True)

    def count_up(tx: Transaction) -> None:
        [(number,)] = tx.execute("select count(*) from rddm_quotas")
        tx.execute("insert into rddm_quotas (name, units, at) values (?, ?, ?)", f"{number}", 0.0, 0.0)

    await asyncio.gather(*(database.run(count_up, exclusive=True) for _ in range(20)))
    assert await database.run(lambda tx: tx.execute("select count(*) from rddm_quotas")) == [(20,)]


async def test_a_statement_that_is_wrong_is_said_in_our_words(database: Database) -> None:
    with pytest.raises(StoreUnavailable, match="jobs cannot be kept now"):
        await database.run(lambda tx: tx.execute("select nothing from nowhere"))


async def test_a_server_that_is_away_is_unavailable_and_used_again_when_it_is_back(postgres: Postgres, postgres_url: str) -> None:
    database = open_database(postgres_url, None, named=False)  # type: ignore[arg-type]
    assert await database.run(lambda tx: tx.execute("select 1")) == [(1,)]
    postgres.stop()
    with pytest.raises(StoreUnavailable):
        await database.run(lambda tx: tx.execute("select 1"))
    postgres.start()
    async with asyncio.timeout(30):
        while True:
            try:
                assert await database.run(lambda tx: tx.execute("select 1")) == [(1,)]
                break
            except StoreUnavailable:
                await asyncio.sleep(0.2)
    await database.aclose()


async def test_two_gateways_spend_from_one_bucket(postgres_url: str) -> None:
    databases = [open_database(postgres_url, None, named=False) for _ in range(2)]  # type: ignore[arg-type]
    rings = [Keyring([Key("ann", "0" * 64, 10.0)], database) for database in databases]
    for ring in rings:
        await ring.open()
    here, there = (ring.named("r", "ann").quota for ring in rings)
    assert isinstance(here, SharedQuota)
    assert isinstance(there, SharedQuota)
    await here.spend(6)
    with pytest.raises(QuotaSpent) as spent:
        await there.spend(6)
    assert 0 < spent.value.retry_after <= 12
    await here.give_back(6)
    await there.spend(6)
    assert there.left() == pytest.approx(4, abs=0.5)
    for database in databases:
        await database.aclose()


async def test_a_hundred_callers_at_once_spend_no_more_than_there_is(postgres_url: str) -> None:
    databases = [open_database(postgres_url, None, named=False) for _ in range(2)]  # type: ignore[arg-type]
    quotas: list[Any] = []
    for database in databases:
        ring = Keyring([Key("ann", "0" * 64, 10.0)], database)
        await ring.open()
        quotas.append(ring.named("r", "ann").quota)
    results = await asyncio.gather(*(quotas[k % 2].spend(1.0) for k in range(100)), return_exceptions=True)
    assert 10 <= sum(result is None for result in results) <= 12  # it refills meanwhile
    assert {type(result) for result in results if result is not None} == {QuotaSpent}
    for database in databases:
        await database.aclose()


async def test_a_picture_that_one_gateway_finished_is_given_by_the_other(postgres_url: str) -> None:
    databases = [open_database(postgres_url, None, named=False) for _ in range(2)]  # type: ignore[arg-type]
    here, there = (ResponseCache(100, database, 60) for database in databases)
    await here.open()
    answers = [StoredResponse(bytes([k]) * 60, "image/png", {"X-Seed": f"{k}"}) for k in range(2)]
    places = [await here.put("ann", answer) for answer in answers]
    assert await there.get("ann", places[0]) == answers[0]
    with pytest.raises(Exception, match="there is no such result"):
        await there.get("bob", places[0])
    await here.sweep()  # 120 bytes are more than 100: the oldest goes
    assert await there.get("ann", places[1]) == answers[1]
    with pytest.raises(Exception, match="there is no such result"):
        await there.get("ann", places[0])
    for database in databases:
        await database.aclose()
