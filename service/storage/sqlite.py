"""One file for one gateway, written from one thread."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from service.storage.database import Row, Transaction, unavailable

T = TypeVar("T")
SqliteError = sqlite3.Error
BUSY_SECONDS = 1


class SqliteTransaction:
    """See `service.storage.database.Transaction`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.now = time.time()

    def execute(self, statement: str, *values: object) -> list[Row]:
        """See the protocol."""
        return self._connection.execute(statement.format(blob="blob", real="real"), values).fetchall()


class SqliteDatabase:
    """See `service.storage.database.Database`."""

    shared = False

    def __init__(self, path: Path | None) -> None:
        """path None keeps everything in memory. Raises OSError and sqlite3.Error where the file cannot be used."""
        self._thread = ThreadPoolExecutor(1, "database")
        self._connection = self._thread.submit(_open, path).result()

    async def run(self, act: Callable[[Transaction], T], *, exclusive: bool = False) -> T:  # noqa: ARG002 (always so)
        """See the protocol."""
        return await self._call(lambda: self._transact(act))

    async def aclose(self) -> None:
        """See the protocol."""
        await self._call(self._connection.close)
        self._thread.shutdown()

    async def _call(self, act: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, act)
        except sqlite3.Error as error:
            raise unavailable(error) from error

    def _transact(self, act: Callable[[Transaction], T]) -> T:
        self._connection.execute("begin immediate")
        with self._connection:  # commits, or rolls back
            return act(SqliteTransaction(self._connection))


def _open(path: Path | None) -> sqlite3.Connection:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path or ":memory:", timeout=BUSY_SECONDS, isolation_level=None)
    connection.execute("pragma locking_mode = exclusive")  # a second gateway on the same file must not run the same jobs
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma auto_vacuum = incremental")
    connection.execute("begin exclusive")  # takes the lock that the first pragma keeps
    connection.execute("commit")
    return connection
