"""Manifests: rows that name objects. A watched folder gives each file once it is whole, and again when it has changed."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from service.bulk import entries
from service.bulk.entries import is_manifest, is_unfinished, read_manifest, settled
from service.bulk.folder import Folder
from service.bulk.stores import Entry, StoreError


async def keys(folder: Path, name: str) -> list[str]:
    return [entry.key async for entry in read_manifest(Folder(str(folder)), name)]


async def test_rows_of_json_and_of_parquet(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"key": "x/1.jpg", "label": 3}\n\n"2.png"\n')
    parquet.write_table(pa.table({"label": [1, 2], "key": ["x/1.jpg", "2.png"]}), tmp_path / "a.parquet")
    assert await keys(tmp_path, "a.jsonl") == await keys(tmp_path, "a.parquet") == ["x/1.jpg", "2.png"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"key": "a"}\n{"path": "b"}\n', "line 2 of m.jsonl has the key None"),
        ("{key}\n", "line 1 of m.jsonl is no JSON"),
        ('{"key": 3}\n', "line 1 of m.jsonl has the key 3"),
    ],
)
async def test_a_row_that_is_none_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "m.jsonl").write_text(text)
    with pytest.raises(StoreError, match=words):
        await keys(tmp_path, "m.jsonl")


async def test_a_parquet_file_without_keys_or_that_is_none_is_refused(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"path": ["x"]}), tmp_path / "m.parquet")
    with pytest.raises(StoreError, match="columns"):
        await keys(tmp_path, "m.parquet")
    (tmp_path / "n.parquet").write_bytes(b"no parquet")
    with pytest.raises(StoreError, match="no Parquet file"):
        await keys(tmp_path, "n.parquet")


def test_a_manifest_is_known_by_its_suffix() -> None:
    assert is_manifest("s3://bucket/keys.PARQUET")
    assert is_manifest("keys.jsonl")
    assert not is_manifest("pictures/")


@pytest.mark.parametrize(
    ("key", "unfinished"),
    [("a/b.png", False), ("a/b.PART", True), ("b.crdownload", True), (".hidden/b.png", True), ("a/.b.png", True), ("part", False)],
)
def test_copies_under_way_have_names_of_their_own(key: str, unfinished: bool) -> None:
    assert is_unfinished(key) == unfinished


class Looks:
    """A store that shows other entries at every look."""

    def __init__(self, *looks: list[Entry]) -> None:
        self.looks = list(looks)

    async def entries(self) -> AsyncIterator[Entry]:
        if not self.looks:
            raise EOFError
        for entry in self.looks.pop(0):
            yield entry


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    async def sleep(_: float) -> None:
        pass

    monkeypatch.setattr(entries.asyncio, "sleep", sleep)


async def given(*looks: list[Entry]) -> list[str]:
    """Keys and tags in the order in which they come, until there is nothing more to look at."""
    keys_and_tags: list[str] = []
    store: Any = Looks(*looks)
    with contextlib.suppress(EOFError):
        async for each in settled(store, 1.0):
            keys_and_tags.append(f"{each.key} {each.tag}")
    return keys_and_tags


def entry(tag: str, key: str = "a", size: int | None = 9) -> Entry:
    return Entry(key, size, tag)


@pytest.mark.usefixtures("no_pauses")
async def test_a_file_comes_when_two_looks_see_the_same_and_once() -> None:
    assert await given([entry("1")], [entry("2")], [entry("2")], [entry("2")]) == ["a 2"]


@pytest.mark.usefixtures("no_pauses")
async def test_a_file_that_changed_comes_again() -> None:
    assert await given([entry("1")], [entry("1")], [entry("2")], [entry("2")]) == ["a 1", "a 2"]


@pytest.mark.usefixtures("no_pauses")
async def test_a_file_that_was_away_comes_again() -> None:
    assert await given([entry("1")], [entry("1")], [], [entry("1")], [entry("1")]) == ["a 1", "a 1"]


@pytest.mark.usefixtures("no_pauses")
async def test_an_empty_file_and_one_under_way_do_not_come() -> None:
    looks = [entry("1", size=0), entry("1", "b.part"), entry("1", "c", size=None)]
    assert await given(looks, looks, looks) == ["c 1"]
