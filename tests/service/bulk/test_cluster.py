"""A batch on a real Ray cluster of two nodes on this machine, one of which is killed in the middle."""

import asyncio
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cluster import add_node, cluster
from service.bulk.deferred import defer_restorer
from service.bulk.folder import Folder
from service.bulk.picture import BatchJob, recipe_of
from service.bulk.runner import Summary
from service.bulk.stores import StoreError
from service.restoration.parameters import RestoreParameters
from service.settings import Settings
from tests.models import release_tiny
from tests.service.bulk.conftest import png

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.filterwarnings("default")]
PICTURES = 200


async def pending(job: BatchJob, source: Path, target: Path, summary: Summary) -> tuple[str, Any, bool]:
    from service.bulk.cluster import list_pending  # noqa: PLC0415

    async with defer_restorer(Settings(), job.parameters) as restorer:
        recipe = recipe_of(restorer, job.parameters)
        entries = Folder(str(source)).entries()
        return recipe, *await list_pending(job, Folder(str(target), may_create=True), recipe, entries, summary)


@pytest.fixture
def nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster whose nodes have the models, since workers have the environment of their node."""
    release_tiny(tmp_path / "models")
    monkeypatch.setenv("RDDM_MODEL_REPOSITORY", str(tmp_path / "models"))
    with cluster(head_cpus=2) as machines:
        yield machines


def fill(folder: Path) -> None:
    folder.mkdir()
    for number in range(PICTURES):
        (folder / f"{number:03d}.png").write_bytes(png(number))
    (folder / "broken.png").write_bytes(png(1)[:40])


def test_an_actor_that_has_a_gpu_uses_it() -> None:
    from service.bulk.cluster import actor_settings  # noqa: PLC0415

    assert [actor_settings(gpus).device for gpus in ([], [0], ["1"])] == ["cpu", "cuda", "cuda"]


def test_a_node_that_is_killed_loses_nothing(nodes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from service.bulk.cluster import restore_rows  # noqa: PLC0415

    source, target = tmp_path / "in", tmp_path / "out"
    fill(source)
    second = add_node(nodes, num_cpus=2)
    nodes.wait_for_nodes()
    job, summary = BatchJob(RestoreParameters()), Summary()
    recipe, rows, resumed = asyncio.run(pending(job, source, target, summary))
    assert len(rows) == PICTURES + 1

    def kill_in_the_middle() -> None:
        while len(list(target.glob("*.png"))) < PICTURES // 4:
            time.sleep(0.05)
        nodes.remove_node(second, allow_graceful=False)

    killer = threading.Thread(target=kill_in_the_middle)
    killer.start()
    places = str(source), str(target)
    done = restore_rows(job, *places, recipe, rows, summary, lambda _: None, resumed=resumed, address=nodes.address, actors=2)
    killer.join(60)
    assert (done.restored, done.failed) == (PICTURES, 1), [(one.key, one.problem) for one in done.problems]
    lines = [line for log in (target / ".rddm").glob("records-ray-*.jsonl") for line in log.read_bytes().splitlines()]
    records = {record["key"]: record for record in map(json.loads, lines)}
    assert len(records) == len(lines) == PICTURES + 1  # nothing lost, nothing twice
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in target.glob("*.png")}
    assert len(digests) == PICTURES
    assert {key: record["digest"] for key, record in records.items() if record["status"] == "restored"} == digests
    assert len(list((target / ".rddm").glob("records-ray-*.jsonl"))) == 3  # two actors, and one in place of the killed node's
    again = Summary()
    _, left, resumed = asyncio.run(pending(job, source, target, again))
    assert (len(left), resumed) == (0, True)
    assert (again.kept, again.failed_before) == (PICTURES, 1)

    release_tiny(tmp_path / "other", seed=1)
    monkeypatch.setenv("RDDM_MODEL_REPOSITORY", str(tmp_path / "other"))
    recipe, rows, resumed = asyncio.run(pending(job, source, target, Summary()))
    with pytest.raises(StoreError, match="has other weights, or another version"):
        restore_rows(job, *places, recipe, rows, Summary(), lambda _: None, resumed=resumed, address=nodes.address, actors=1)
    assert len(list((target / ".rddm").glob("records-ray-*.jsonl"))) == 3
