"""Manifests: rows that name objects."""

from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from service.bulk.folder import Folder
from service.bulk.manifest import is_manifest, read_manifest
from service.bulk.stores import StoreError


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
