"""Finished responses: one class for what a request is answered with, what a job leaves and what /results gives again."""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial

from service.errors import NotFound, StoreUnavailable
from service.results.cache import LruCache
from service.storage import Database, Transaction


@dataclass(frozen=True)
class StoredResponse:
    """A finished body, its media type, and the headers that tell how it was made.

    file: where the body lies, if not in memory.
    """

    body: bytes
    media_type: str
    headers: Mapping[str, str]
    file: str | None = None

    @cached_property
    def etag(self) -> str:
        """The strong entity tag, quoted as in the header: SHA-256 of the body."""
        return f'"{hashlib.sha256(self.body).hexdigest()}"'


SCHEMA = """
create table if not exists rddm_results (
    id text primary key, caller text not null, created {real} not null, bytes bigint not null, answer text not null,
    body {blob} not null)
"""


class ResponseCache:
    """What `/results/{id}` answers: the latest bodies, each for the caller to whom it was given.

    They are in memory and, where several gateways share a database, there too, for so many seconds and up to as many bytes.
    """

    def __init__(self, limit_bytes: int, database: Database | None = None, kept_seconds: float = 3600) -> None:
        self.entries: LruCache[StoredResponse] = LruCache(limit_bytes)
        self._limit, self._kept_seconds = limit_bytes, kept_seconds
        self._database = database if database is not None and database.shared else None

    async def open(self) -> None:
        """Make the table, if there is to be one. Raises StoreUnavailable."""
        if self._database is not None:
            await self._database.run(lambda tx: tx.execute(SCHEMA), exclusive=True)

    async def put(self, caller: str, answer: StoredResponse) -> str:
        """Keeps an answer; its id is the same for the same caller and body, and tells nothing of either."""
        digest = hashlib.sha256("\0".join((caller, answer.media_type, answer.etag)).encode()).hexdigest()[:32]
        self.entries.put(self._key(caller, digest), answer, len(answer.body))
        if self._database is not None and len(answer.body) <= self._limit:
            with contextlib.suppress(StoreUnavailable):  # this gateway has it, and the picture itself is answered now
                await self._database.run(partial(_insert, digest, caller, answer))
        return digest

    async def get(self, caller: str, result: str) -> StoredResponse:
        """The caller's answer. Raises NotFound if there is none, if it was forgotten, or if it is another caller's."""
        answer = self.entries.get(self._key(caller, result))
        if answer is None and self._database is not None:
            answer = await self._database.run(partial(_select, result, caller))
        if answer is None:
            raise NotFound("there is no such result; results are kept for a while, for the key that they were made with")
        return answer

    async def sweep(self) -> None:
        """Forget what is old, and the oldest of what is too much."""
        if self._database is not None:
            await self._database.run(partial(_sweep, self._kept_seconds, self._limit))

    @staticmethod
    def _key(caller: str, result: str) -> str:
        return f"{caller}\0{result}"


def _insert(identity: str, caller: str, answer: StoredResponse, tx: Transaction) -> None:
    facts = json.dumps({"media_type": answer.media_type, "headers": dict(answer.headers)})
    tx.execute(
        "insert into rddm_results (id, caller, created, bytes, answer, body) values (?, ?, ?, ?, ?, ?) "
        "on conflict (id) do update set created = excluded.created",
        *(identity, caller, tx.now, len(answer.body), facts, answer.body),
    )


def _select(identity: str, caller: str, tx: Transaction) -> StoredResponse | None:
    rows = tx.execute("select answer, body from rddm_results where id = ? and caller = ?", identity, caller)
    return StoredResponse(body=rows[0][1], **json.loads(rows[0][0])) if rows else None


def _sweep(kept_seconds: float, limit: int, tx: Transaction) -> None:
    tx.execute("delete from rddm_results where created < ?", tx.now - kept_seconds)
    tx.execute(
        "delete from rddm_results where id in (select id from (select id, sum(bytes) over (order by created desc, id) as total "
        "from rddm_results) as latest where total > ?)",
        limit,
    )
