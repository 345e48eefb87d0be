"""What a database does for this service, and which one it is."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from service.errors import StoreUnavailable

T = TypeVar("T")
Row = tuple[Any, ...]
log = logging.getLogger(__name__)


class Transaction(Protocol):
    """Statements that are kept all together or not at all. now: seconds of the epoch, on the database's clock."""

    now: float

    def execute(self, statement: str, *values: object) -> list[Row]:
        """The rows of a query or of a `returning` clause. `?` stands for a value, {blob} and {real} for the database's types."""
        ...


class Database(Protocol):
    """shared: other gateways may use it at the same time."""

    shared: bool

    async def run(self, act: Callable[[Transaction], T], *, exclusive: bool = False) -> T:
        """What `act` returns, which runs in another thread; what it raises undoes all that it wrote.

        exclusive: one after the other, over all gateways, as far as they ask for it too. Raises StoreUnavailable.
        """
        ...

    async def aclose(self) -> None:
        """Give the connections back."""
        ...


def unavailable(error: Exception) -> StoreUnavailable:
    """A database's own error in our words; the message could hold addresses or paths."""
    return StoreUnavailable(f"jobs cannot be kept now: {type(error).__name__}", retry_after=30)


def open_database(url: str | None, path: Path, *, named: bool) -> Database:
    """PostgreSQL where there is a URL, else the SQLite file; where that was not named by anybody and cannot be used, memory.

    Raises OSError that names the file, for a named one that cannot be used, and ModuleNotFoundError without the extra `postgres`.
    """
    if url is not None:
        from service.storage.postgres import PostgresDatabase  # noqa: PLC0415 (an extra)

        return PostgresDatabase(url)
    from service.storage.sqlite import SqliteDatabase, SqliteError  # noqa: PLC0415

    try:
        return SqliteDatabase(path)
    except (OSError, SqliteError) as error:
        if named:
            raise OSError(f"the jobs file {path} cannot be used: {error}") from error
        log.warning("jobs will not survive a restart: their file cannot be used (%s); name one with RDDM_JOBS_FILE", error)
        return SqliteDatabase(None)
