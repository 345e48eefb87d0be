"""A store that is busy, slow, cut off or full, and keys that are wrong: retried, or ended with words; nothing is lost."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
import uvicorn
from moto.server import ThreadedMotoServer
from nanio.app import build_app
from nanio.auth.credentials import StaticCredentialResolver
from nanio.config import Settings

from service.bulk import Store, StoreError, Summary, open_store, run_batch
from service.bulk.picture import BatchJob
from service.bulk.records import Record, parse
from service.restoration.parameters import RestoreParameters
from tests.service.bulk.conftest import FakeRestorer, png
from tests.service.bulk.faulty import Fault, Proxy, proxied

PICTURES = 6
FAST: Any = {"max_retries": 2, "backoff": {"init_backoff": timedelta(milliseconds=5), "max_backoff": timedelta(milliseconds=20)}}


@pytest.fixture(scope="module")
def behind() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    boto3.client(
        "s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
    ).create_bucket(Bucket="pictures")
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def proxy(behind: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    with proxied(behind) as one:
        keys(monkeypatch, one.url)
        monkeypatch.setattr("service.bulk.object_store.RETRIES", {**FAST, "retry_timeout": timedelta(seconds=20)})
        monkeypatch.setattr("service.bulk.picture.FIRST_PAUSE", 0.01)
        yield one


def keys(monkeypatch: pytest.MonkeyPatch, address: str, secret: str = "secret") -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)


async def batch(prefix: str) -> tuple[Summary, Store]:
    """A batch of six pictures, put there by way of the faults too."""
    source, target = open_store(f"s3://pictures/{prefix}/in"), open_store(f"s3://pictures/{prefix}/out")
    target.record_seconds = 0.1
    for number in range(PICTURES):
        await source.write(f"{number}.png", png(number), {}, replace=True)
    return await run_batch(BatchJob(RestoreParameters()), source, target, FakeRestorer(), source.entries(), lambda _: None), target


async def whole(summary: Summary, target: Store) -> None:
    """Everything is there, right, and noted."""
    assert (summary.restored, summary.failed) == (PICTURES, 0), summary.problems
    for number in range(PICTURES):
        assert await target.read(f"{number}.png") == b"weights:" + png(number)
    records = [parse(line) async for line in target.logs("records-")]
    assert {record.key for record in records if record is not None} == {f"{number}.png" for number in range(PICTURES)}


def reads(method: str, path: str) -> bool:
    return method == "GET" and "/in/" in path and "list-type" not in path


def writes(method: str, path: str) -> bool:
    return method == "PUT" and "/out/" in path and ".rddm" not in path


@pytest.mark.parametrize(
    "fault",
    [
        Fault(reads, 9, status=503),
        Fault(reads, 4, status=500, code="InternalError"),
        Fault(writes, 9, status=503),
        Fault(lambda method, path: method == "GET" and "list-type" in path, 2, status=503),
        Fault(lambda method, path: method == "PUT" and ".rddm" in path, 4, status=503),
        Fault(reads, 4, cut=True),
        Fault(reads, 3, seconds=0.3),
    ],
    ids=["busy-reads", "broken-reads", "busy-writes", "busy-listing", "busy-records", "cut-bodies", "late-bodies"],
)
async def test_what_passes_is_tried_again_until_all_is_there(proxy: Proxy, fault: Fault, request: pytest.FixtureRequest) -> None:
    proxy.faults = [fault]
    await whole(*await batch(request.node.callspec.id))
    assert fault.times == 0, "the fault was never met"


async def test_a_store_that_answers_too_late_is_asked_again(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.bulk.object_store.CLIENT", {"timeout": "500ms", "connect_timeout": "5s"})
    proxy.faults = [Fault(reads, 2, seconds=1.0)]
    await whole(*await batch("late"))
    assert len([one for one in proxy.seen if reads(*one)]) >= PICTURES + 2


async def test_a_store_that_stays_busy_costs_one_picture_and_no_other(proxy: Proxy) -> None:
    proxy.faults = [Fault(lambda method, path: reads(method, path) and path.endswith("/3.png"), 10_000, status=503)]
    summary, target = await batch("stuck")
    assert (summary.restored, summary.failed) == (PICTURES - 1, 1)
    [problem] = summary.problems
    assert problem.key == "3.png"
    assert "could not be read at 3.png" in str(problem.problem)
    last: dict[str, Record] = {}
    async for line in target.logs("records-"):
        record = parse(line)
        assert record is not None
        last[record.key] = record
    assert last["3.png"].status == "failed"


async def test_a_store_without_room_ends_the_run_in_words(proxy: Proxy) -> None:
    proxy.faults = [Fault(writes, 10_000, status=507, code="XMinioStorageFull")]
    with pytest.raises(StoreError, match="could not be written") as full:
        await batch("full")
    assert full.value.fatal
    assert len([one for one in proxy.seen if writes(*one)]) <= 40


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[str]:
    """An S3 server that checks signatures (moto does not)."""
    (tmp_path / "data" / "pictures").mkdir(parents=True)
    settings = Settings(data_dir=tmp_path / "data", credentials=StaticCredentialResolver({"key": "secret"}))
    server = uvicorn.Server(uvicorn.Config(build_app(settings), port=0, loop="asyncio", log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        threading.Event().wait(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


async def test_wrong_keys_end_the_run_in_words_and_right_ones_work(guarded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    keys(monkeypatch, guarded)
    source = open_store("s3://pictures/in")
    await source.write("a.png", png(1), {})
    assert [entry.key async for entry in source.entries()] == ["a.png"]
    keys(monkeypatch, guarded, secret="wrong")
    wrong = open_store("s3://pictures/in")
    with pytest.raises(StoreError, match="could not be listed") as refused:
        _ = [entry async for entry in wrong.entries()]
    assert refused.value.fatal
    assert "secret" not in str(refused.value)
