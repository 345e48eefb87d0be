"""`rddm batch`: what is lost by kills, what a second run costs, what memory and time it takes.

    python -m benchmarks.batch kills [--pictures 2000] [--s3]
    python -m benchmarks.batch listing
    python -m benchmarks.batch speed [--pictures 300] [--old CHECKOUT=PYTHON]
    python -m benchmarks.batch estimate

- *kills*: a folder, or a bucket of moto's S3 server, of small pictures, one in a hundred of them broken, is restored undisturbed,
  then into another target by runs that SIGKILL ends at five moments. Every picture must have one output, with the bytes of the
  undisturbed run, and one last record. The median of five more runs of the undisturbed target is compared with its first.
- *listing*: peak memory of a run that finds everything done, of 1,000 and of 100,000 keys, and CPU seconds of its parts.
- *speed*: `rddm batch` of pictures of 256x256, the same service over the same files without listing and records, and `rddm restore
  FOLDER` of another checkout, one after the other in turns; seconds of three rounds each.
- *estimate*: CPU seconds of one photograph of 12 megapixels for each task, bytes of its record, CPU seconds of listing it and of
  finding it done; from these what ten million of them take. A calculation, no run.

Results go to benchmarks/results/batch-*.json.
"""

import argparse
import asyncio
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.machine import peak_memory
from service.bulk import Store, open_store
from service.bulk.picture import BatchJob
from service.bulk.records import Record, parse
from service.bulk.restorer import open_restorer
from service.bulk.runner import Summary, load_index, note_earlier
from service.restoration.parameters import RestoreParameters
from service.settings import Settings

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
KILLS, SECOND_RUNS, BUCKET, TASK = 5, 5, "pictures", "derain"
SMALL, USUAL, PHOTOGRAPH = (40, 56), (256, 256), (3000, 4000)
FEW, MANY, ESTIMATED = 1000, 100_000, 10_000_000
ESTIMATED_TASKS = ("derain", "lowlight")


def fill(folder: Path, count: int, size: tuple[int, int], broken: int = 0, suffixes: tuple[str, ...] = ("png", "jpg")) -> None:
    """Pictures of smooth noise, formats in turns; every `broken`-th is cut off."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)).resize(
            (size[1], size[0]), Image.Resampling.BICUBIC
        )
        path = folder / f"{number:05d}.{suffixes[number % len(suffixes)]}"
        coarse.save(path)
        if broken and number % broken == broken - 1:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@contextmanager
def bucket() -> Iterator[None]:
    """An S3 server of this machine, which the environment names."""
    import boto3  # noqa: PLC0415
    from moto.server import ThreadedMotoServer  # noqa: PLC0415

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    os.environ.update(AWS_ENDPOINT_URL=address, AWS_ACCESS_KEY_ID="key", AWS_SECRET_ACCESS_KEY="secret", AWS_REGION="us-east-1")
    boto3.client("s3", endpoint_url=address, region_name="us-east-1").create_bucket(Bucket=BUCKET)
    try:
        yield
    finally:
        server.stop()


async def upload(files: dict[str, bytes], target: Store) -> None:
    """Every file into the store."""
    for name, body in files.items():
        await target.write(name, body, {})


def command(source: str, target: str, task: str = TASK) -> list[str]:
    """The command line of a batch."""
    return [sys.executable, "-m", "rddm", "batch", source, target, "--task", task]


def run(source: str, target: str, task: str = TASK) -> float:
    """One whole run; its seconds. Raises CalledProcessError where it failed for another reason than a broken picture."""
    started = time.monotonic()
    done = subprocess.run(
        command(source, target, task), cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False
    )
    if done.returncode not in (0, 1):
        raise subprocess.CalledProcessError(done.returncode, done.args)
    return time.monotonic() - started


async def records_of(target: Store) -> list[Record]:
    """All records, in order."""
    return [record async for line in target.logs("records-") if (record := parse(line)) is not None]


async def digests(target: Store) -> dict[str, str]:
    """SHA-256 of every result."""
    return {one.key: hashlib.sha256(await target.read(one.key)).hexdigest() async for one in target.entries()}


def killed(source: str, target: str, pictures: int, moments: list[float]) -> int:
    """Runs that end by SIGKILL once so many of the pictures have a result; how many runs were killed."""
    kills = 0
    for moment in moments:
        process = subprocess.Popen(command(source, target), cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while process.poll() is None and asyncio.run(count(open_store(target, may_create=True))) < moment * pictures:
            time.sleep(0.1)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    return kills


async def count(target: Store) -> int:
    """How many results there are."""
    return sum([1 async for _ in target.entries()])


def kills(pictures: int, *, s3: bool) -> dict[str, Any]:
    """See the module's docstring."""
    with tempfile.TemporaryDirectory() as scratch, bucket() if s3 else nullcontext():
        folder = Path(scratch) / "in"
        fill(folder, pictures, SMALL, broken=100)
        source, whole, often = (f"s3://{BUCKET}/{name}" if s3 else str(Path(scratch) / name) for name in ("in", "whole", "often"))
        if s3:
            asyncio.run(upload({path.name: path.read_bytes() for path in folder.iterdir()}, open_store(source)))
        first, second = run(source, whole), median(run(source, whole) for _ in range(SECOND_RUNS))
        moments = sorted(random.Random(1).uniform(0.05, 0.95) for _ in range(KILLS))
        ended = killed(source, often, pictures, moments)
        run(source, often)
        share = round(second / first, 4)
        times = {"first_seconds": round(first, 2), "second_seconds": round(second, 2), "second_share": share}
        return compare(whole, often) | {"pictures": pictures, "kills": ended} | times


class Broken(Exception):
    """A promise of the batch that did not hold."""


def compare(whole: str, often: str) -> dict[str, Any]:
    """What the kills cost. Raises Broken where anything was lost or changed, or is not as its record says."""
    expected, got = asyncio.run(digests(open_store(whole))), asyncio.run(digests(open_store(often)))
    if differing := set(got.items()) ^ set(expected.items()):
        raise Broken(f"{len(got)} results, {len(expected)} expected; {len(differing)} keys or digests differ")
    records = asyncio.run(records_of(open_store(often)))
    final = {record.key: record for record in records}
    wanted = {record.key: record.status for record in asyncio.run(records_of(open_store(whole)))}
    if {key: record.status for key, record in final.items()} != wanted:
        raise Broken("the last records are not those of the undisturbed run")
    wrong = [key for key, record in final.items() if record.status == "restored" and record.digest != got[record.target or ""]]
    if wrong:
        raise Broken(f"{len(wrong)} records have another digest than their result")
    times = Counter(record.key for record in records)
    return {
        "outputs": len(got),
        "final_records": len(final),
        "failed_records": sum(record.status == "failed" for record in final.values()),
        "recorded_more_than_once": sum(value > 1 for value in times.values()),
    }


def listing() -> dict[str, Any]:
    """Peak memory, in MB, of runs that find everything done, and CPU seconds."""
    few, many = _skipping(FEW), _skipping(MANY)
    return {str(FEW): few["megabytes"], str(MANY): many["megabytes"], "cpu_seconds": {str(MANY): many["cpu_seconds"]}}


def _skipping(keys: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        source, target = Path(scratch) / "in", Path(scratch) / "out"
        source.mkdir()
        for number in range(keys):
            (source / f"{number:06d}.png").touch()
        script = f"import asyncio; from benchmarks.batch import skip; asyncio.run(skip({str(source)!r}, {str(target)!r}))"
        done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
        facts: dict[str, Any] = json.loads(done.stdout)
        return facts


async def skip(source: str, target: str) -> None:
    """Note every key as done, then list, find and skip them all in this process; prints its peak memory and CPU seconds."""
    store, out = open_store(source), open_store(target, may_create=True)
    lines = []
    async for entry in store.entries():
        lines.append(Record(entry.key, "restored", "recipe", entry.tag, 0.0, target=entry.key, digest="0" * 64).to_line())
        if len(lines) == 1000:
            await out.append("records-00000-of-00001", b"".join(lines))
            lines.clear()
    summary, job = Summary(), BatchJob(RestoreParameters())
    started = time.process_time()
    async with load_index(out, job) as index:
        loaded = time.process_time()
        async for entry in store.entries():
            if not note_earlier(job, "recipe", entry, index.find(entry.key), summary):
                raise Broken(f"{entry.key} is noted as restored and would be done again")
        listed = time.process_time()
    seconds = {"load_records": round(loaded - started, 3), "list_and_find": round(listed - loaded, 3)}
    print(json.dumps({"megabytes": peak_memory(), "cpu_seconds": seconds}))


async def _bare(source: str, target: str) -> None:
    """The same service and files without the batch's own work: no records, no listing, nothing looked up."""
    async with open_restorer(Settings(), RestoreParameters(task=TASK)) as restorer:
        parameters = RestoreParameters(task=TASK)
        waiting = iter(await asyncio.to_thread(lambda: sorted(Path(source).iterdir())))

        async def work() -> None:
            for path in waiting:
                restored = await restorer.restore(await asyncio.to_thread(path.read_bytes), parameters)
                await asyncio.to_thread((Path(target) / path.name).write_bytes, restored.body)

        await asyncio.gather(*(work() for _ in range(restorer.at_once)))


def bare(source: str, target: str) -> float:
    """Seconds of the bare loop, in a process of its own."""
    Path(target).mkdir()
    started = time.monotonic()
    script = f"import asyncio; from benchmarks.batch import _bare; asyncio.run(_bare({source!r}, {target!r}))"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
    return time.monotonic() - started


def old(checkout: str, python: str, source: str, target: str) -> float:
    """Seconds of `rddm restore FOLDER` of another checkout."""
    started = time.monotonic()
    environment = os.environ | {"PYTHONPATH": checkout}
    line = [python, "-m", "rddm", "restore", source, "-o", target, "--task", TASK]
    subprocess.run(line, cwd=checkout, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - started


def speed(pictures: int, other: str | None) -> dict[str, Any]:
    """Seconds of each way, in turns."""
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        source = str(Path(scratch) / "in")
        fill(Path(source), pictures, USUAL)
        ways: dict[str, Callable[[str], float]] = {"batch": partial(run, source), "bare": partial(bare, source)}
        if other is not None:
            ways["old"] = partial(old, *other.split("="), source)
        for _ in range(3):
            for name, way in ways.items():
                target = str(Path(scratch) / name)
                shutil.rmtree(target, ignore_errors=True)
                seconds.setdefault(name, []).append(round(way(target), 2))
    return {"pictures": pictures, "size": USUAL, "seconds": seconds}


def estimate() -> dict[str, Any]:
    """What ten million photographs take, from what one takes and from 100,000 keys that are listed."""
    tasks = {task: _photograph(task) for task in ESTIMATED_TASKS}
    skipped = _skipping(MANY)["cpu_seconds"]
    return {
        "pictures": ESTIMATED,
        "size": PHOTOGRAPH,
        "one": tasks,
        "cpu_hours": {task: round(ESTIMATED * one["cpu_seconds"] / 3600) for task, one in tasks.items()},
        "records_gigabytes": round(ESTIMATED * max(one["record_bytes"] for one in tasks.values()) / 1e9, 2),
        "list_pages": ESTIMATED // 1000,
        "cpu_seconds_of_finding_all_done": {part: round(seconds * ESTIMATED / MANY) for part, seconds in skipped.items()},
    }


def _photograph(task: str) -> dict[str, Any]:
    """CPU seconds of one photograph beyond those of a small one, which a start costs; and what its record and result measure."""
    with tempfile.TemporaryDirectory() as scratch:
        seconds = {}
        for size in (SMALL, PHOTOGRAPH):
            source, target = Path(scratch) / f"in-{size[0]}", Path(scratch) / f"out-{size[0]}"
            fill(source, 1, size, suffixes=("jpg",))
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            run(str(source), str(target), task)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            seconds[size] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        record = next((target / ".rddm").glob("records-*")).read_bytes()
        return {"cpu_seconds": round(seconds[PHOTOGRAPH] - seconds[SMALL], 2), "record_bytes": len(record)}


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch", description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["kills", "listing", "speed", "estimate"])
    parser.add_argument("--pictures", type=int)
    parser.add_argument("--s3", action="store_true", help="a bucket of moto's server instead of a folder")
    parser.add_argument("--old", metavar="CHECKOUT=PYTHON", help="another checkout and the Python that has its packages")
    given = parser.parse_args()
    made = {
        "kills": lambda: kills(given.pictures or 2000, s3=given.s3),
        "listing": listing,
        "speed": lambda: speed(given.pictures or 300, given.old),
        "estimate": estimate,
    }[given.what]()
    facts = {"when": time.strftime("%Y-%m-%d"), "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
    name = f"batch-{given.what}{'-s3' if given.s3 else ''}.json"
    (RESULTS / name).write_text(json.dumps(facts | made, indent=1) + "\n", "utf-8")
    print(json.dumps(facts | made, indent=1))


if __name__ == "__main__":
    main()
