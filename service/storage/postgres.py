"""One PostgreSQL for several gateways."""

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from service.storage.database import Row, Transaction, unavailable

T = TypeVar("T")
CONNECTIONS = 4
CONNECT_SECONDS = 5
STATEMENT_SECONDS = 30
LOCK = 0x7264646D  # "rddm": the key of the advisory lock that exclusive transactions hold
PLACEHOLDER = re.compile(r"\?")


class PostgresTransaction:
    """See `service.storage.database.Transaction`."""

    def __init__(self, cursor: "psycopg.Cursor[Any]", exclusive: bool) -> None:
        self._cursor = cursor
        # Settings of this transaction only, so that a pooler between may lend the connection to somebody else after it.
        [(_, self.now)] = self.execute(
            "select set_config('statement_timeout', ?, true), extract(epoch from clock_timestamp())::float8",
            f"{STATEMENT_SECONDS}s",
        )
        if exclusive:
            [(_, self.now)] = self.execute(
                "select pg_advisory_xact_lock(?)::text, extract(epoch from clock_timestamp())::float8", LOCK
            )

    def execute(self, statement: str, *values: object) -> list[Row]:
        """See the protocol."""
        text = PLACEHOLDER.sub("%s", statement.format(blob="bytea", real="float8"))
        self._cursor.execute(text, values)
        return [] if self._cursor.description is None else self._cursor.fetchall()


class PostgresDatabase:
    """See `service.storage.database.Database`. The server may be down at the start, and go and come back later."""

    shared = True

    def __init__(self, url: str) -> None:
        self._threads = ThreadPoolExecutor(CONNECTIONS, "database")
        self._pool = ConnectionPool(
            url,
            # A pooler that lends connections by transaction keeps no prepared statements.
            kwargs={"connect_timeout": CONNECT_SECONDS, "application_name": "rddm-serve", "prepare_threshold": None},
            min_size=1,
            max_size=CONNECTIONS,
            timeout=CONNECT_SECONDS,
            check=ConnectionPool.check_connection,
            open=False,
        )

    async def run(self, act: Callable[[Transaction], T], *, exclusive: bool = False) -> T:
        """See the protocol."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: self._transact(act, exclusive))
        except (psycopg.Error, PoolTimeout) as error:
            raise unavailable(error) from error

    async def aclose(self) -> None:
        """See the protocol."""
        await asyncio.to_thread(self._pool.close)
        self._threads.shutdown()

    def _transact(self, act: Callable[[Transaction], T], exclusive: bool) -> T:
        self._pool.open()  # does nothing the second time
        with self._pool.connection() as connection, connection.cursor() as cursor:
            return act(PostgresTransaction(cursor, exclusive))
