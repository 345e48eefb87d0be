"""Which database it is."""

import logging
from pathlib import Path

from service.storage.database import Database
from service.storage.sqlite import SqliteDatabase, SqliteError

log = logging.getLogger(__name__)


def open_database(url: str | None, path: Path, *, named: bool) -> Database:
    """PostgreSQL where there is a URL, else the SQLite file; where that was not named by anybody and cannot be used, memory.

    Raises OSError that names the file, for a named one that cannot be used, and ModuleNotFoundError without the extra `postgres`.
    """
    if url is not None:
        from service.storage.postgres import PostgresDatabase  # noqa: PLC0415 (an extra)

        return PostgresDatabase(url)
    try:
        return SqliteDatabase(path)
    except (OSError, SqliteError) as error:
        if named:
            raise OSError(f"the jobs file {path} cannot be used: {error}") from error
        log.warning("jobs will not survive a restart: their file cannot be used (%s); name one with RDDM_JOBS_FILE", error)
        return SqliteDatabase(None)
