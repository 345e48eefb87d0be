"""`rddm batch --ray` on clusters of this machine: what a picture costs beside its network, and what a second node brings.

    python -m benchmarks.cluster [--pictures 160] [--seconds 1.0]

A picture is read, a network is asked that only sleeps, and its result and its record are written; so two nodes of one core can be
compared on a machine that has no two to spare. `whole`: one node's seconds over twice those of two, from the first line to the
last, actors started and all. `steady`: the same of the time from an actor's first picture to its last. `overhead`: an actor's
seconds a picture beyond the sleep.

The report is benchmarks/results/batch-cluster.json.
"""

import argparse
import asyncio
import json
import os
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.batch import RESULTS, SMALL, fill
from service.bulk.folder import Folder
from service.bulk.picture import BatchJob, Restored, recipe_of
from service.bulk.runner import Summary
from service.restoration.parameters import RestoreParameters
from service.settings import Settings

AGENTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")
NODES = (1, 2)
PORT_TRIES = 3


def agent_ports() -> dict[str, int]:
    """Fixed ports of a node's agents: Ray 2.60 ends a node whose agents do not write chosen ones into files within 15 s.

    So they are chosen before Ray binds them, and where another process has taken one meanwhile, `add_node` chooses again.
    """
    sockets = [socket.socket() for _ in AGENTS]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return {name: one.getsockname()[1] for name, one in zip(AGENTS, sockets, strict=True)}
    finally:
        for one in sockets:
            one.close()


def add_node(nodes: Any, **facts: Any) -> Any:
    """A further node, for Ray's own arguments; the first one is the head."""
    for left in reversed(range(PORT_TRIES)):
        try:
            return nodes.add_node(**facts, **agent_ports())
        except Exception:  # Ray does not say that a port was taken: the node ends, or does not come up in time
            if not left:
                raise
    raise AssertionError


@contextmanager
def cluster(head_cpus: int) -> Iterator[Any]:
    """A head node, to which others can be added; all of them end with the block."""
    import ray  # noqa: PLC0415 (seconds, which --help does not need)
    from ray.cluster_utils import Cluster  # noqa: PLC0415

    nodes = Cluster()
    try:
        add_node(nodes, num_cpus=head_cpus, include_dashboard=False)
        yield nodes
    finally:
        ray.shutdown()
        nodes.shutdown()


class Sleeper:
    """A Restorer (service.bulk.picture) of no work: after a while it gives a picture back as it came."""

    digest, steps, at_once = "sleeper", "1", 1

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def suffixes(self, picture: bytes, parameters: RestoreParameters) -> tuple[str, ...]:  # noqa: ARG002
        """Those that `benchmarks.batch.fill` gives."""
        return (".png", ".jpg")

    async def start(self) -> None:
        """Nothing is to be opened."""

    async def restore(self, picture: bytes, parameters: RestoreParameters) -> Restored:  # noqa: ARG002
        """The same bytes."""
        await asyncio.sleep(self._seconds)
        return Restored(picture, SMALL[1], SMALL[0])


@asynccontextmanager
async def sleeper(seconds: float, _settings: Settings, _parameters: RestoreParameters) -> AsyncIterator[Sleeper]:
    """What opens one in an actor."""
    yield Sleeper(seconds)


def batch(machines: Any, source: Path, target: Path, actors: int, seconds: float) -> dict[str, float]:
    """One batch by so many actors of one core; another core of the cluster is left for Ray's own tasks."""
    from service.bulk.cluster import list_pending, restore_rows  # noqa: PLC0415 (ray)

    job, summary = BatchJob(RestoreParameters()), Summary()
    recipe = recipe_of(Sleeper(seconds), job.parameters)
    listing = list_pending(job, Folder(str(target), may_create=True), recipe, Folder(str(source)).entries(), summary)
    rows, resumed = asyncio.run(listing)
    restore_rows(
        job,
        str(source),
        str(target),
        recipe,
        rows,
        summary,
        lambda _: None,
        resumed=resumed,
        address=machines.address,
        actors=actors,
        opened=partial(sleeper, seconds),
    )
    if summary.restored != len(rows):
        raise RuntimeError(f"{summary.restored} of {len(rows)} pictures were restored")
    return {"whole": summary.seconds, "rate": sum(map(rate, (target / ".rddm").glob("records-ray-*.jsonl")))}


def rate(log: Path) -> float:
    """Pictures a second of one actor, from its first to its last."""
    times = sorted(json.loads(line)["finished"] for line in log.read_text("utf-8").splitlines())
    return (len(times) - 1) / (times[-1] - times[0])


def measure(pictures: int, seconds: float) -> dict[str, Any]:
    """See the module's docstring."""
    with tempfile.TemporaryDirectory() as scratch, cluster(head_cpus=1) as machines:
        source = Path(scratch) / "in"
        fill(source, pictures, SMALL)
        made = []
        for nodes in NODES:
            add_node(machines, num_cpus=1)
            machines.wait_for_nodes()
            made.append(batch(machines, source, Path(scratch) / f"out-{nodes}", nodes, seconds))
    one, two = made
    return {
        "pictures": pictures,
        "network_seconds": seconds,
        "seconds": {"one": round(one["whole"], 1), "two": round(two["whole"], 1)},
        "efficiency_whole": round(one["whole"] / (2 * two["whole"]), 3),
        "efficiency_steady": round(two["rate"] / (2 * one["rate"]), 3),
        "overhead_seconds": {"one": round(1 / one["rate"] - seconds, 4), "two": round(2 / two["rate"] - seconds, 4)},
    }


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__.partition("\n")[0])
    parser.add_argument("--pictures", type=int, default=160)
    parser.add_argument("--seconds", type=float, default=1.0, help="that the network sleeps")
    given = parser.parse_args()
    facts = {"when": time.strftime("%Y-%m-%d"), "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
    report = json.dumps(facts | measure(given.pictures, given.seconds), indent=1)
    (RESULTS / "batch-cluster.json").write_text(report + "\n", "utf-8")
    print(report)


if __name__ == "__main__":
    main()
