"""Which objects of a store are to be restored, where not all are: the rows of a manifest, or what comes into a watched folder.

A folder is watched by looking at it again and again, not by notifications of the system: those do not come from network drives,
differ between systems and are lost when too many come at once. A look at 10,000 files takes tens of milliseconds.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path, PurePosixPath

from service.bulk.stores import Entry, Store, StoreError

SUFFIXES = (".jsonl", ".ndjson", ".parquet")
ROWS_AT_ONCE = 10_000
EXPECTED = 'expected rows with the member "key": a path below the root, such as {"key": "2024/a.jpg"}'
UNFINISHED = {".part", ".partial", ".tmp", ".crdownload", ".download", ".filepart"}  # names of copies that are under way


def is_manifest(location: str) -> bool:
    """Whether the name is a manifest's."""
    return PurePosixPath(location).suffix.lower() in SUFFIXES


async def read_manifest(store: Store, name: str) -> AsyncIterator[Entry]:
    """The entries of a manifest in a store, streamed; memory holds some rows of it, of Parquet a row group.

    Raises StoreError that names the row which is none, and where pyarrow is missing.
    """
    async with store.as_file(name) as path:
        keys = _parquet_keys(name, path) if name.lower().endswith(".parquet") else _json_keys(name, path)
        while batch := await asyncio.to_thread(_take, keys):
            for key in batch:
                yield Entry(key)


def _take(keys: Iterator[str]) -> list[str]:
    return [key for _, key in zip(range(ROWS_AT_ONCE), keys, strict=False)]


def _json_keys(name: str, path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as wrong:
                raise StoreError(f"line {number} of {name} is no JSON; {EXPECTED}", fatal=True) from wrong
            yield _key(row.get("key") if isinstance(row, dict) else row, f"line {number} of {name}")


def _parquet_keys(name: str, path: Path) -> Iterator[str]:
    try:
        import pyarrow as pa  # noqa: PLC0415
        from pyarrow import parquet  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        raise StoreError(
            f"{name} needs the package pyarrow; install it with pip install 'rddm-serve[parquet]'", fatal=True
        ) from missing
    try:
        table = parquet.ParquetFile(path, memory_map=True)
        batches = table.iter_batches(ROWS_AT_ONCE, columns=["key"])
        number = 0
        for batch in batches:
            if not batch.num_columns:
                raise StoreError(f"{name} has the columns {table.schema_arrow.names}; {EXPECTED}", fatal=True)
            for key in batch.column(0).to_pylist():
                number += 1
                yield _key(key, f"row {number} of {name}")
    except pa.ArrowException as wrong:
        raise StoreError(f"{name} is no Parquet file that can be read: {str(wrong)[:120]}", fatal=True) from wrong


def _key(value: object, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise StoreError(f"{where} has the key {value!r}; {EXPECTED}", fatal=True)
    return value


def is_unfinished(key: str) -> bool:
    """Whether programs give such names to files that they have not finished, or that are no one's pictures: hidden ones."""
    path = PurePosixPath(key)
    return path.suffix.lower() in UNFINISHED or any(part.startswith(".") for part in path.parts)


async def settled(store: Store, seconds: float) -> AsyncIterator[Entry]:
    """Every object of a watched store, for ever: when two looks, so many seconds apart, see it in one state, once for each state.

    An object that is empty is still to be written.
    """
    seen: dict[str, str] = {}
    given: dict[str, str] = {}
    while True:
        there = {entry.key: entry async for entry in store.entries() if not is_unfinished(entry.key)}
        for key, entry in there.items():
            state = entry.problem or entry.tag
            if seen.get(key) == state != given.get(key) and entry.size != 0:
                given[key] = state
                yield entry
        seen = {key: entry.problem or entry.tag for key, entry in there.items()}
        given = {key: state for key, state in given.items() if key in there}
        await asyncio.sleep(seconds)
