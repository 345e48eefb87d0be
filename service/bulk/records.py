"""One record a picture: what came of it. A later record of the same key replaces an earlier one."""

import json
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from pydantic_core import from_json

Status = Literal["restored", "not-a-picture", "failed"]


@dataclass(frozen=True)
class Record:
    """The outcome of one object.

    key: in the source. recipe: what the result is a function of beside the picture (see `runner.recipe_of`). tag: of the object
    that was read. target: the result's key. digest: SHA-256 of the result. seconds: from reading to writing. finished: seconds
    of the epoch. problem: in words, unless restored. frames: of a clip.
    """

    key: str
    status: Status
    recipe: str
    tag: str
    finished: float
    target: str | None = None
    problem: str | None = None
    seconds: float = 0.0
    bytes_in: int | None = None
    bytes_out: int | None = None
    width: int | None = None
    height: int | None = None
    digest: str | None = None
    frames: int | None = None

    def to_line(self) -> bytes:
        """The record as a line of JSON; members without a value are left out."""
        members = {name: value for name, value in asdict(self).items() if value is not None}
        return json.dumps(members, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


KNOWN = {field.name for field in fields(Record)}


def parse(line: bytes) -> Record | None:
    """The record of a line; None for a line that was cut short."""
    try:
        members: dict[str, Any] = from_json(line)
        return Record(**{name: value for name, value in members.items() if name in KNOWN})
    except (ValueError, TypeError, AttributeError):
        return None


class RecordIndex:
    """The latest record of every key, on disk: memory stays the same whatever the number of keys."""

    def __init__(self, path: Path) -> None:
        self._base = sqlite3.connect(path, isolation_level=None)
        self._base.execute("pragma journal_mode = off")
        self._base.execute("pragma synchronous = off")
        self._base.execute(
            "create table records (key text primary key, status text, recipe text, tag text, target text) without rowid"
        )
        self._base.execute("begin")

    def add(self, record: Record) -> None:
        """Takes the place of an earlier record of the key."""
        row = (record.key, record.status, record.recipe, record.tag, record.target)
        self._base.execute("insert or replace into records values (?, ?, ?, ?, ?)", row)

    def find(self, key: str) -> Record | None:
        """The key's record, as far as a decision needs it."""
        row = self._base.execute("select key, status, recipe, tag, target from records where key = ?", (key,)).fetchone()
        if row is None:
            return None
        key, status, recipe, tag, target = row
        return Record(key, status, recipe, tag, finished=0.0, target=target)

    def __len__(self) -> int:
        count: int = self._base.execute("select count(*) from records").fetchone()[0]
        return count

    def close(self) -> None:
        """Close the file."""
        self._base.close()


@contextmanager
def open_index() -> Iterator[RecordIndex]:
    """An empty index in a temporary folder, which goes with the block."""
    with tempfile.TemporaryDirectory(prefix="rddm-") as folder:
        index = RecordIndex(Path(folder) / "records.sqlite")
        try:
            yield index
        finally:
            index.close()
