"""Buckets, on a real S3 server of this machine (moto)."""

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

from service.bulk.entries import read_manifest
from service.bulk.folder import Folder
from service.bulk.locations import open_store
from service.bulk.object_store import ObjectStore
from service.bulk.picture import DIGEST_FACT, RECIPE_FACT, TAG_FACT, BatchJob
from service.bulk.records import Record, parse
from service.bulk.runner import run_batch
from service.bulk.stores import AlreadyThere, Store, StoreError
from service.restoration.parameters import RestoreParameters
from tests.service.bulk.conftest import FakeRestorer, png

BUCKET = "pictures"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    s3 = boto3.client("s3", endpoint_url=server, region_name="us-east-1")
    s3.create_bucket(Bucket=BUCKET)
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        if keys := [{"Key": one["Key"]} for one in page.get("Contents", [])]:
            s3.delete_objects(Bucket=BUCKET, Delete={"Objects": keys})


def store(prefix: str) -> ObjectStore:
    opened = open_store(f"s3://{BUCKET}/{prefix}")
    assert isinstance(opened, ObjectStore)
    opened.record_seconds = 0.1  # type: ignore[misc]
    return opened


async def records(target: Store) -> list[Record]:
    return [record async for line in target.logs("records-") if (record := parse(line)) is not None]


async def filled(prefix: str, count: int) -> ObjectStore:
    source = store(prefix)
    for number in range(count):
        await source.write(f"{number % 3}/{number}.png", png(number), {})
    return source


async def test_a_bucket_to_a_bucket_once(tmp_path: Path) -> None:
    source, target = await filled("in", 12), store("out")
    await source.write("notes.txt", b"hello", {})
    restorer = FakeRestorer()
    summary = await run_batch(BatchJob(RestoreParameters()), source, target, restorer, source.entries(), lambda _: None)
    assert (summary.restored, summary.refused) == (12, 1)
    assert await target.read("1/4.png") == b"weights:" + png(4)
    assert len(await records(target)) == 13
    again = FakeRestorer()
    summary = await run_batch(BatchJob(RestoreParameters()), source, store("out"), again, source.entries(), lambda _: None)
    assert (summary.kept, summary.refused) == (12, 1)
    assert not again.calls


async def test_results_without_a_record_are_known_by_their_facts() -> None:
    source, target = await filled("in", 6), store("out")
    await run_batch(BatchJob(RestoreParameters()), source, target, FakeRestorer(), source.entries(), lambda _: None)
    kept = await records(target)
    lost = store("out2")
    for record in kept:  # the results of a killed run, of which one record was written
        facts = await target.facts(str(record.target))
        assert facts is not None
        await lost.write(str(record.target), await target.read(str(record.target)), facts)
    await lost.append("records-00000-of-00001", kept[0].to_line())
    again = FakeRestorer()
    summary = await run_batch(BatchJob(RestoreParameters()), source, lost, again, source.entries(), lambda _: None)
    assert not again.calls
    assert (summary.kept, summary.restored) == (1, 5)


async def test_a_folder_to_a_bucket(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(1))
    source = Folder(str(tmp_path))
    summary = await run_batch(BatchJob(RestoreParameters()), source, store("out"), FakeRestorer(), source.entries(), lambda _: None)
    assert summary.restored == 1


async def test_a_listing_of_many_pages_is_streamed() -> None:
    held = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]  # the server's, in this process: 1,005 requests take 4 s
    for number in range(1005):
        held.put_object(BUCKET, f"many/{number:05d}.txt", b"x")
    keys = [entry.key async for entry in store("many").entries()]
    assert keys == [f"{number:05d}.txt" for number in range(1005)]


async def test_creation_is_conditional_and_facts_come_back() -> None:
    one = store("one")
    await one.write("a.png", b"first", {"rddmrecipe": "r"})
    with pytest.raises(AlreadyThere):
        await one.write("a.png", b"second", {})
    assert await one.read("a.png", 3) == b"fir"
    facts = await one.facts("a.png")
    assert facts is not None
    assert facts["rddmrecipe"] == "r"
    assert await one.facts("b.png") is None


async def test_a_bucket_that_is_not_there_ends_in_words() -> None:
    missing = open_store("s3://no-such-bucket/in")
    with pytest.raises(StoreError, match="could not be listed") as refused:
        _ = [entry async for entry in missing.entries()]
    assert refused.value.fatal


async def test_a_manifest_in_a_bucket_is_read_as_a_file(tmp_path: Path) -> None:
    place = store("lists")
    await place.write("keys.jsonl", b"".join(f'{{"key": "{number}.png"}}\n'.encode() for number in range(30_000)), {})
    keys = [entry.key async for entry in read_manifest(place, "keys.jsonl")]
    assert (len(keys), keys[-1]) == (30_000, "29999.png")
    with pytest.raises(StoreError, match=r"nothing to be read at gone\.jsonl"):
        _ = [entry async for entry in read_manifest(place, "gone.jsonl")]


async def test_a_clip_goes_through_a_file_and_comes_back_with_its_facts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    source, target, restorer = store("clips"), store("clips-out"), FakeRestorer()
    body = b"\0\0\0\x18ftypisom" + bytes(6 << 20)
    await source.write("walk.mp4", body, {})
    job = BatchJob(RestoreParameters())
    summary = await run_batch(job, source, target, restorer, source.entries(), lambda _: None)
    assert (summary.restored, summary.frames) == (1, 1)
    assert await target.read("walk.mp4") == b"weights:motion:" + body
    assert (await target.facts("walk.mp4") or {})["rddmdigest"] == (await records(target))[0].digest
    assert not list((tmp_path / "rddm" / "clips").glob("*"))
    with pytest.raises(AlreadyThere):
        await target.write("walk.mp4", tmp_path, {})


def test_every_store_takes_the_names_of_facts() -> None:
    assert all(name.isidentifier() and name == name.lower() for name in (RECIPE_FACT, TAG_FACT, DIGEST_FACT))
