"""A batch on a real Ray cluster of two nodes on this machine, one of which is killed in the middle."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.bulk.folder import Folder
from service.bulk.picture import BatchJob, recipe_of
from service.bulk.restorer import open_restorer
from service.bulk.runner import Summary
from service.restoration.parameters import RestoreParameters
from service.settings import Settings
from tests.models import release_tiny
from tests.service.bulk.conftest import png

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.filterwarnings("default")]
PICTURES = 200


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def agent_ports() -> dict[str, int]:
    """Fixed ports of a node's agents: Ray waits 15 s for the files in which chosen ones are written (see findings/)."""
    names = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")
    return dict(zip(names, free_ports(len(names)), strict=True))


@pytest.fixture
def cluster() -> Iterator[Any]:
    import ray  # noqa: PLC0415
    from ray.cluster_utils import Cluster  # noqa: PLC0415

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False, **agent_ports()})
    try:
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


async def pending(job: BatchJob, source: Path, target: Path, summary: Summary) -> tuple[list[dict[str, Any]], bool]:
    from service.bulk.cluster import list_pending  # noqa: PLC0415

    async with open_restorer(Settings(), job.parameters) as restorer:
        recipe = recipe_of(restorer, job.parameters)
        return await list_pending(job, Folder(str(target), may_create=True), recipe, Folder(str(source)).entries(), summary)


def test_a_node_that_is_killed_loses_nothing(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from service.bulk.cluster import restore_rows  # noqa: PLC0415

    models, source, target = tmp_path / "models", tmp_path / "in", tmp_path / "out"
    release_tiny(models)
    monkeypatch.setenv("RDDM_MODEL_REPOSITORY", str(models))
    source.mkdir()
    for number in range(PICTURES):
        (source / f"{number:03d}.png").write_bytes(png(number))
    (source / "broken.png").write_bytes(png(1)[:40])
    second = cluster.add_node(num_cpus=2, **agent_ports())
    cluster.wait_for_nodes()
    job, summary = BatchJob(RestoreParameters()), Summary()
    rows, resumed = asyncio.run(pending(job, source, target, summary))
    assert len(rows) == PICTURES + 1

    def kill_in_the_middle() -> None:
        while len(list(target.glob("*.png"))) < PICTURES // 4:
            time.sleep(0.05)
        cluster.remove_node(second, allow_graceful=False)

    killer = threading.Thread(target=kill_in_the_middle)
    killer.start()
    done = restore_rows(
        job, str(source), str(target), rows, summary, lambda _: None, resumed=resumed, address=cluster.address, actors=2
    )
    killer.join(60)
    assert (done.restored, done.failed) == (PICTURES, 1), [(one.key, one.problem) for one in done.problems]
    assert len(list(target.glob("*.png"))) == PICTURES
    lines = [line for log in (target / ".rddm").glob("records-ray-*.jsonl") for line in log.read_bytes().splitlines()]
    final = {record["key"]: record for record in map(json.loads, lines)}
    assert len(final) == PICTURES + 1
    assert {record["digest"] for record in map(json.loads, lines) if record["key"] == "000.png"} == {final["000.png"]["digest"]}
    again = Summary()
    assert asyncio.run(pending(job, source, target, again)) == ([], True)
    assert (again.kept, again.failed_before) == (PICTURES, 1)
