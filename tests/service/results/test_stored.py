"""Finished responses, kept in memory and in a database that gateways share."""

import hashlib

import pytest

from service.errors import NotFound
from service.results.stored import ResponseCache, StoredResponse
from service.storage.sqlite import SqliteDatabase

ANSWER = StoredResponse(b"picture", "image/png", {"X-Steps": "2"})


def test_an_entity_tag_is_the_bodys_sha256_in_quotes() -> None:
    assert ANSWER.etag == f'"{hashlib.sha256(b"picture").hexdigest()}"'


async def test_an_answer_is_its_callers_alone() -> None:
    cache = ResponseCache(1000)
    name = await cache.put("a", ANSWER)
    assert await cache.get("a", name) == ANSWER
    with pytest.raises(NotFound, match="there is no such result"):
        await cache.get("b", name)


async def test_an_id_is_the_same_for_the_same_body_and_tells_nothing_of_it() -> None:
    cache = ResponseCache(1000)
    name = await cache.put("a", ANSWER)
    assert name == await cache.put("a", ANSWER)
    assert name not in ANSWER.etag
    assert len({name, await cache.put("b", ANSWER), await cache.put("a", StoredResponse(b"picture", "image/webp", {}))}) == 3


async def test_the_oldest_is_forgotten_over_the_limit() -> None:
    cache = ResponseCache(10)
    first = await cache.put("a", StoredResponse(b"123456", "image/png", {}))
    second = await cache.put("a", StoredResponse(b"654321", "image/png", {}))
    assert (await cache.get("a", second)).body == b"654321"
    with pytest.raises(NotFound):
        await cache.get("a", first)


async def shared_caches(database: SqliteDatabase, limit: int = 1000) -> list[ResponseCache]:
    database.shared = True  # type: ignore[misc]
    caches = [ResponseCache(limit, database, kept_seconds=60) for _ in range(2)]
    for cache in caches:
        await cache.open()
    return caches


async def test_another_gateway_answers_from_the_shared_database() -> None:
    database = SqliteDatabase(None)
    first, second = await shared_caches(database)
    name = await first.put("a", ANSWER)
    assert await second.get("a", name) == ANSWER
    with pytest.raises(NotFound):
        await second.get("b", name)
    await database.aclose()


async def test_a_sweep_forgets_the_oldest_of_what_is_too_much() -> None:
    database = SqliteDatabase(None)
    first, second = await shared_caches(database, limit=10)
    names = [await first.put("a", StoredResponse(body, "image/png", {})) for body in (b"123456", b"654321")]
    await first.sweep()
    kept = 0
    for name in names:
        try:
            kept += len((await second.get("a", name)).body)
        except NotFound:
            continue
    assert kept == 6
    await database.aclose()
