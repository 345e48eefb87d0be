"""Every object once, with a record; a second run does what is left."""

import hashlib
import os
from pathlib import Path

import pytest

from service.bulk.folder import Folder
from service.bulk.picture import BatchJob, Restored, Restorer, recipe_of, target_key
from service.bulk.records import Record, parse
from service.bulk.runner import Summary, load_index, run_batch
from service.bulk.stores import StoreError
from service.errors import EngineUnavailable, WorkerDied
from service.restoration.parameters import RestoreParameters
from tests.service.bulk.conftest import FakeRestorer, png


def job(**more: object) -> BatchJob:
    return BatchJob(**{"parameters": RestoreParameters(), **more})  # type: ignore[arg-type]


async def run(source: Path, target: Path, restorer: Restorer, given: BatchJob | None = None) -> Summary:
    store = Folder(str(source))
    return await run_batch(given or job(), store, Folder(str(target), may_create=True), restorer, store.entries(), lambda _: None)


def records(target: Path) -> dict[str, Record]:
    lines = [line for log in sorted((target / ".rddm").glob("*.jsonl")) for line in log.read_bytes().splitlines()]
    return {record.key: record for line in lines if (record := parse(line)) is not None}


async def test_every_object_has_a_result_or_a_reason(source: Path, tmp_path: Path, restorer: FakeRestorer) -> None:
    summary = await run(source, tmp_path / "out", restorer)
    assert (summary.listed, summary.restored, summary.failed, summary.refused) == (8, 6, 1, 1)
    by_key = records(tmp_path / "out")
    assert by_key["broken.png"].status == "failed"
    assert by_key["notes.txt"].status == "not-a-picture"
    assert {key for key, record in by_key.items() if record.status == "restored"} == {
        *(f"{n}.png" for n in range(4)),
        "sub/4.PNG",
        "sub/no-suffix",
    }
    assert (tmp_path / "out" / "sub" / "no-suffix").read_bytes() == b"weights:" + png(5)
    assert not summary.complete


async def test_a_second_run_computes_nothing(source: Path, tmp_path: Path, restorer: FakeRestorer) -> None:
    await run(source, tmp_path / "out", restorer)
    again = FakeRestorer()
    summary = await run(source, tmp_path / "out", again)
    assert not again.calls
    assert (restorer.starts, again.starts) == (1, 0)
    assert (summary.kept, summary.refused, summary.failed_before) == (6, 1, 1)


async def test_a_restorer_that_cannot_start_ends_the_run_with_its_own_error(source: Path, tmp_path: Path) -> None:
    class Unusable(FakeRestorer):
        async def start(self) -> None:
            raise EngineUnavailable("no model could be loaded")

    with pytest.raises(EngineUnavailable, match="no model could be loaded"):
        await run(source, tmp_path / "out", Unusable())
    assert not (tmp_path / "out" / ".rddm").exists()


async def test_failed_pictures_are_tried_again_where_that_is_asked(source: Path, tmp_path: Path, restorer: FakeRestorer) -> None:
    await run(source, tmp_path / "out", restorer)
    (source / "broken.png").write_bytes(png(6))
    os.utime(source / "broken.png", ns=(0, 0))
    again = FakeRestorer()
    summary = await run(source, tmp_path / "out", again, job(retry_failed=True))
    assert (summary.restored, summary.failed) == (1, 0)
    assert summary.complete


async def test_other_weights_or_steps_and_changed_pictures_are_done_anew(
    source: Path, tmp_path: Path, restorer: FakeRestorer
) -> None:
    await run(source, tmp_path / "out", restorer)
    (source / "0.png").write_bytes(png(77))
    changed = await run(source, tmp_path / "out", FakeRestorer())
    assert (changed.restored, changed.kept) == (1, 5)
    assert (tmp_path / "out" / "0.png").read_bytes() == b"weights:" + png(77)
    other = await run(source, tmp_path / "out", FakeRestorer(digest="newer"))
    assert other.restored == 6
    assert (tmp_path / "out" / "1.png").read_bytes() == b"newer:" + png(1)


async def test_a_file_that_no_record_knows_is_not_replaced(source: Path, tmp_path: Path, restorer: FakeRestorer) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "1.png").write_bytes(b"precious")
    summary = await run(source, tmp_path / "out", restorer)
    assert (tmp_path / "out" / "1.png").read_bytes() == b"precious"
    assert "there already" in str(records(tmp_path / "out")["1.png"].problem)
    assert summary.failed == 2


async def test_a_result_whose_record_was_lost_is_recorded_again(source: Path, tmp_path: Path, restorer: FakeRestorer) -> None:
    await run(source, tmp_path / "out", restorer)
    log = next((tmp_path / "out" / ".rddm").glob("*.jsonl"))
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:-1]) + lines[-1][:20])  # killed while the last record was written
    summary = await run(source, tmp_path / "out", FakeRestorer())
    assert summary.restored + summary.failed + summary.refused >= 1
    assert len(records(tmp_path / "out")) == 8


async def test_shards_share_the_objects_among_them(source: Path, tmp_path: Path) -> None:
    parts = [await run(source, tmp_path / "out", FakeRestorer(), job(shard=(index, 3))) for index in range(3)]
    assert sum(part.listed for part in parts) == 8
    assert sum(part.restored for part in parts) == 6
    assert len(records(tmp_path / "out")) == 8


async def test_a_shard_reads_the_records_that_may_be_of_its_own(source: Path, tmp_path: Path) -> None:
    out = Folder(str(tmp_path / "out"), may_create=True)
    for index in range(2):
        await run(source, tmp_path / "out", FakeRestorer(), job(shard=(index, 2)))
    again = [await run(source, tmp_path / "out", FakeRestorer(), job(shard=(index, 2))) for index in range(2)]
    assert sum(part.kept for part in again) == 6
    assert (await run(source, tmp_path / "out", FakeRestorer())).kept == 6  # shards of another number, too
    async with load_index(out, job(shard=(1, 2))) as index:
        assert 0 < len(index) < 8


async def test_a_dry_run_writes_nothing(source: Path, tmp_path: Path, restorer: FakeRestorer) -> None:
    summary = await run(source, tmp_path / "out", restorer, job(dry_run=True))
    assert summary.listed == 8
    assert not restorer.calls
    assert not (tmp_path / "out").exists()


async def test_modification_times_are_kept(source: Path, tmp_path: Path, restorer: FakeRestorer) -> None:
    os.utime(source / "2.png", (1_000_000_000, 1_000_000_000))
    await run(source, tmp_path / "out", restorer)
    assert (tmp_path / "out" / "2.png").stat().st_mtime == 1_000_000_000


class FullFolder(Folder):
    async def write(self, key: str, *_: object, **__: object) -> None:
        raise StoreError(f"{key} cannot be written: No space left on device", fatal=True)


async def test_a_full_disk_ends_the_run_in_words_and_keeps_the_records(source: Path, tmp_path: Path) -> None:
    store, target = Folder(str(source)), FullFolder(str(tmp_path / "out"), may_create=True)
    with pytest.raises(StoreError, match="No space left"):
        await run_batch(job(), store, target, FakeRestorer(), store.entries(), lambda _: None)
    assert all(record.status != "restored" for record in records(tmp_path / "out").values())


class Hesitant(FakeRestorer):
    """Fails each first call as a store or an engine does that is busy."""

    async def restore(self, picture: bytes, parameters: RestoreParameters) -> object:  # type: ignore[override]
        from service.errors import QueueFull  # noqa: PLC0415

        if not self.calls:
            self.calls["once"] += 1
            raise QueueFull("too much waits", retry_after=1)
        return await super().restore(picture, parameters)


async def test_what_passes_is_tried_again(source: Path, tmp_path: Path) -> None:
    assert (await run(source, tmp_path / "out", Hesitant())).restored == 6


@pytest.mark.parametrize(
    ("key", "suffixes", "target"),
    [
        ("a/b.JPG", (".jpg", ".jpeg"), "a/b.JPG"),
        ("a/b.jpe", (".jpg", ".jpeg", ".jpe"), "a/b.jpe"),
        ("a.png", (".webp",), "a.png.webp"),
        ("folder.x/name", (".png",), "folder.x/name"),
    ],
)
def test_no_two_keys_have_one_target(key: str, suffixes: tuple[str, ...], target: str) -> None:
    assert target_key(key, suffixes) == target


def test_the_recipe_changes_with_all_that_decides_the_result() -> None:
    one = RestoreParameters()
    recipes = {
        recipe_of(FakeRestorer(), one),
        recipe_of(FakeRestorer("other"), one),
        recipe_of(FakeRestorer(), RestoreParameters(seed=3)),
        recipe_of(FakeRestorer(), RestoreParameters(format="webp")),
        recipe_of(FakeRestorer(), RestoreParameters(metadata="none")),
    }
    assert len(recipes) == 5
    assert recipe_of(FakeRestorer(), RestoreParameters(max_latency_ms=5)) == recipe_of(FakeRestorer(), one)


class Mortal(FakeRestorer):
    """Its process dies with picture 1 once, as on a machine that goes down, and with picture 3 always."""

    async def restore(self, picture: bytes, parameters: RestoreParameters) -> Restored:
        restored = await super().restore(picture, parameters)
        times = self.calls[hashlib.sha256(picture).hexdigest()]
        if picture == png(3) or (picture == png(1) and times == 1):
            raise WorkerDied("the picture broke the process that read it")
        return restored


async def test_a_picture_is_to_blame_for_a_dead_process_only_the_second_time(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.bulk.picture.DIED_PAUSE", 0.01)
    restorer = Mortal()
    summary = await run(source, tmp_path / "out", restorer)
    assert (summary.restored, summary.failed) == (5, 2)
    assert records(tmp_path / "out")["3.png"].problem == "the picture broke the process that read it"
    assert sorted(restorer.calls.values())[-2:] == [2, 2]
