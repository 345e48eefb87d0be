"""The comparison of a disturbed batch with an undisturbed one finds what it is there to find."""

import asyncio
import hashlib
from pathlib import Path

import pytest

from benchmarks.batch import Broken, compare, fill
from service.bulk.folder import Folder
from service.bulk.records import Record


def target(folder: Path, results: dict[str, bytes], twice: str = "", digest: str | None = None) -> str:
    store = Folder(str(folder), may_create=True)
    folder.mkdir()

    async def make() -> None:
        for key, body in results.items():
            (folder / key).write_bytes(body)
            record = Record(key, "restored", "recipe", "", 0.0, target=key, digest=digest or hashlib.sha256(body).hexdigest())
            await store.append("records-00000-of-00001", record.to_line() * (2 if key == twice else 1))

    asyncio.run(make())
    return str(folder)


def test_a_lost_a_changed_and_a_misnoted_result_are_seen(tmp_path: Path) -> None:
    results = {"a.png": b"a", "b.png": b"b"}
    whole = target(tmp_path / "whole", results)
    assert compare(whole, target(tmp_path / "same", results, twice="b.png"))["recorded_more_than_once"] == 1
    with pytest.raises(Broken, match="1 results, 2 expected"):
        compare(whole, target(tmp_path / "lost", {"a.png": b"a"}))
    with pytest.raises(Broken, match="2 keys or digests differ"):
        compare(whole, target(tmp_path / "changed", {"a.png": b"a", "b.png": b"c"}))
    with pytest.raises(Broken, match="another digest"):
        compare(whole, target(tmp_path / "misnoted", results, digest="0" * 64))


def test_every_so_many_picture_is_broken(tmp_path: Path) -> None:
    fill(tmp_path / "in", 4, (8, 8), broken=2)
    bodies = [path.read_bytes() for path in sorted((tmp_path / "in").iterdir())]
    assert [body.endswith(b"\xff\xd9") or b"IEND" in body for body in bodies] == [True, False, True, False]
