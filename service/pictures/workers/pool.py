"""The worker processes in which pictures are read and written: several, each killed at the time limit and replaced.

What waits for one is served in fair order: callers in turn, and within a caller the request that has had least.

What holds nothing that a sender wrote, the pixels of a PNG, is written in threads of the gateway.
"""

import asyncio
import mmap
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from service import errors
from service.engines.arrays import offload
from service.pictures.encode import samples_of
from service.pictures.files import png
from service.pictures.formats import AS_USUAL, FileWishes, PictureFormat
from service.pictures.picture import Bounds, Picture
from service.pictures.workers.fair_pool import FairPool
from service.pictures.workers.framing import LENGTH, NOT_SHARED, SHARED_BYTES, mapped, pack, share, unpack
from service.pictures.workers.watch import apart, interpreter, watched
from service.timings import note

T = TypeVar("T")
R = TypeVar("R")
PIPE_BYTES = 1 << 20
PARTS_AHEAD = 2  # of a file, for each thread
Whose = tuple[str, str]  # caller and request
NOBODY: Whose = ("", "")
BROKEN = "the picture broke the process that read it"
START_SECONDS = 60.0
REFUSALS = {kind.__name__: kind for kind in (errors.Malformed, errors.TooLarge, errors.UnsupportedMedia)}
# What a process runs. No collection looks at what importing makes: a tenth of what it takes until it is ready.
MAIN = "import gc; gc.disable(); from {module} import main; gc.freeze(); gc.enable(); main()"
ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "SYSTEMROOT")
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def is_ours(picture: Picture, record: PictureFormat) -> bool:
    """Whether such a file holds nothing that a sender wrote: it may then be written in this process."""
    return record.name == "png" and picture.is_plain


def done(result: R) -> Future[R]:
    """A future that has its result."""
    future: Future[R] = Future()
    future.set_result(result)
    return future


def with_last(parts: Iterable[T]) -> Iterator[tuple[T, bool]]:
    """Each, and whether it is the last."""
    remaining = iter(parts)
    try:
        part = next(remaining)
    except StopIteration:
        return
    for following in remaining:
        yield part, False
        part = following
    yield part, True


class Worker:
    """One process, which exchanges messages, one at a time."""

    def __init__(self, process: asyncio.subprocess.Process, most_bytes: int, shared: mmap.mmap | None) -> None:
        self.process = process
        self.most_bytes = most_bytes
        self.shared = shared

    @classmethod
    async def start(
        cls, memory_bytes: int, module: str = "service.pictures.workers.worker", shared_bytes: int = SHARED_BYTES, *limits: int
    ) -> "Worker":
        """A process that knows nothing of the gateway's environment but where its libraries are.

        module: whose `main` it runs; limits: the module's own.
        """
        python, own = interpreter()
        environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ} | ONE_THREAD | own
        descriptor = share(shared_bytes)
        try:
            process = await asyncio.create_subprocess_exec(
                *(python, "-P", "-c", MAIN.format(module=module), *map(str, (memory_bytes, descriptor, *limits))),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=environment,
                limit=PIPE_BYTES,
                pass_fds=() if descriptor == NOT_SHARED else (descriptor,),
                **apart(),
            )
            return cls(process, memory_bytes, mapped(descriptor, shared_bytes))
        finally:
            if descriptor != NOT_SHARED:
                os.close(descriptor)

    async def ask(self, facts: dict[str, Any]) -> dict[str, Any]:
        """The answer. Raises asyncio.IncompleteReadError or OSError when the process dies, TooLarge if that was for its memory."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        async with watched(self.process, self.most_bytes):
            stdin.writelines(pack(facts, self.shared))
            await stdin.drain()
            length, facts_length = LENGTH.unpack(await stdout.readexactly(LENGTH.size))
            if length > self.most_bytes:
                raise ValueError(f"a message of {length} bytes")
            return unpack(facts_length, await stdout.readexactly(length), self.shared)

    async def end(self) -> None:
        """Kill it and wait until it is gone."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        if self.shared is not None:
            self.shared.close()


class CodecPool:
    """Decodes and encodes in `workers` processes of at most memory_bytes each, and no picture for longer than `seconds`."""

    def __init__(self, bounds: Bounds, workers: int, seconds: float, memory_bytes: int) -> None:
        self.bounds = bounds
        self.seconds = seconds
        self.memory_bytes = memory_bytes
        self.workers = workers
        self._idle: FairPool[Worker | None] = FairPool()
        for _ in range(workers):
            self._idle.put(None)
        self._threads = ThreadPoolExecutor(workers, "encode")
        self.killed = 0

    async def start(self) -> None:
        """Start one worker, so that the first request waits for none; the others start when pictures come at the same time.

        Raises EngineUnavailable where none can be started, TooLarge for one that takes longer than START_SECONDS, WorkerDied.
        """
        begin = time.perf_counter()
        answer = await self._run({"task": "ready"}, 0, NOBODY, START_SECONDS)
        note("codec process", time.perf_counter() - begin, answer["cpu_seconds"])

    async def close(self) -> None:
        """End every worker; call it when no request is left."""
        self._threads.shutdown(cancel_futures=True)
        while self._idle:
            if (worker := self._idle.take()) is not None:
                await worker.end()

    async def decode(self, data: bytes, whose: Whose = NOBODY) -> Picture:
        """Raises Malformed, TooLarge, UnsupportedMedia, and EngineUnavailable where no process can be started."""
        facts = {"task": "decode", "data": data, "max_pixels": self.bounds.max_pixels, "max_side": self.bounds.max_side}
        answer = await self._run(facts, len(data), whose)
        try:
            return Picture(**answer["picture"])
        except (KeyError, TypeError) as strange:
            raise errors.Malformed(BROKEN) from strange

    async def encode(self, picture: Picture, record: PictureFormat, wishes: FileWishes = AS_USUAL, whose: Whose = NOBODY) -> bytes:
        """See service.pictures.encode.encode."""
        if is_ours(picture, record):
            samples = await offload(picture.pixels.size, samples_of, picture, record)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, png.write, samples, (), self._side_by_side)
        options = {"metadata": wishes.metadata, "file_quality": wishes.file_quality, "lossless": wishes.lossless}
        facts = {"task": "encode", "picture": picture.facts(), "format": record.name, "options": options}
        answer = await self._run(facts, picture.pixels.size, whose)
        return bytes(answer["data"])

    def _side_by_side(self, act: Callable[[T], R], parts: Iterable[T]) -> list[R]:
        """See service.pictures.files.png.Spread: by the threads, and by this one, which takes what none of them has started.

        Few parts wait at once, so that they need not all be held.
        """
        results: list[Future[R]] = []
        waiting: deque[tuple[int, T]] = deque()
        try:
            for part, is_last in with_last(parts):
                while waiting and results[waiting[0][0]].done():
                    waiting.popleft()
                if is_last or len(waiting) == PARTS_AHEAD * self.workers:
                    results.append(done(act(part)))
                else:
                    waiting.append((len(results), part))
                    results.append(self._threads.submit(act, part))
            for index, part in reversed(waiting):
                if results[index].cancel():
                    results[index] = done(act(part))
            return [result.result() for result in results]
        except BaseException:
            for result in results:
                result.cancel()
            raise

    async def _run(self, facts: dict[str, Any], cost: float, whose: Whose, seconds: float | None = None) -> dict[str, Any]:
        worker = await self._idle.wait(*whose, cost)
        try:
            worker = await self._living(worker)
            async with asyncio.timeout(seconds or self.seconds):
                answer = await worker.ask(facts)
        except BaseException as error:
            # Given up before the wait: a second cancellation must not put a dead worker back.
            broken, worker, self.killed = worker, None, self.killed + 1
            if broken is not None:
                await asyncio.shield(broken.end())
            if isinstance(error, TimeoutError):
                raise errors.TooLarge(f"the picture took longer than {self.seconds:g} s to read or write") from error
            if isinstance(error, asyncio.IncompleteReadError | OSError | ValueError):
                raise errors.WorkerDied(BROKEN) from error
            raise
        finally:
            self._idle.put(worker)
        if "error" in answer:
            raise REFUSALS.get(answer["error"], errors.Malformed)(str(answer["detail"]))
        return answer

    async def _living(self, worker: Worker | None) -> Worker:
        """The worker, or a new one for one that died while it had nothing to do: no picture is to blame for that."""
        if worker is not None and worker.process.returncode is None:
            return worker
        if worker is not None:
            self.killed += 1
            await asyncio.shield(worker.end())
        try:
            return await Worker.start(self.memory_bytes)
        except OSError as error:
            raise errors.EngineUnavailable("no process can be started to read pictures", retry_after=5) from error
