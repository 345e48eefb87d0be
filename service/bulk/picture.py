"""One object of a batch, a picture or a clip: read, restored, written; every outcome is a record."""

import asyncio
import hashlib
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

from service.bulk.clip import ClipSize, begins_as_clip, digest_of, opened_scratch, parameters_for
from service.bulk.records import Record
from service.bulk.stores import AlreadyThere, Entry, Store, StoreError
from service.engines.contract import Model
from service.errors import EngineUnavailable, InvalidValue, QueueFull, ServiceError, UnsupportedMedia, WorkerDied
from service.pictures.formats import FORMATS, PictureFormat, sniff
from service.restoration.models import steps_of
from service.restoration.parameters import RestoreParameters, usual_format
from service.video.facts import SUFFIX_OF, SUFFIXES
from service.video.parameters import ClipParameters

T = TypeVar("T")
PLAIN_CLIPS = ClipParameters()
HEAD_BYTES = 4096  # enough to tell a picture from what is none
WHOLE_BYTES = 4 << 20  # objects of up to this size are read at once, larger ones only if their head is a picture's
MOST_TRIES = 6
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 30.0  # seconds
DIED_PAUSE = 2.0  # a process of a node that goes down ends within it
RECIPE_FACT, TAG_FACT, DIGEST_FACT = "rddmrecipe", "rddmsource", "rddmdigest"  # Azure takes no hyphen in such a name


@dataclass(frozen=True)
class Restored:
    """A finished file: its bytes, and its size in pixels."""

    body: bytes
    width: int
    height: int


class Restorer(Protocol):
    """What restores. digest and steps, of all its models, belong to the recipe; at_once: pictures that keep it busy, if started."""

    digest: str
    steps: str
    at_once: int

    def suffixes(self, picture: bytes, parameters: RestoreParameters) -> tuple[str, ...]:
        """The suffixes of the result's format, the usual one first. Raises UnsupportedMedia."""
        ...

    async def start(self) -> None:
        """Opens what `restore` needs, if that is not open. Raises EngineUnavailable."""
        ...

    async def restore(self, picture: bytes, parameters: RestoreParameters) -> Restored:
        """Raises the errors of service.errors."""
        ...

    async def restore_clip(
        self, source: Path, target: Path, folder: Path, parameters: ClipParameters, on_frame: Callable[[], None]
    ) -> ClipSize:
        """The clip at target; what is done of it stays in folder until it is. Raises the errors of service.errors."""
        ...


class Described:
    """What the models say that restore a picture, one or several in turn: the half of a Restorer that needs no service."""

    def __init__(self, models: tuple[Model, ...], parameters: RestoreParameters) -> None:
        """Raises InvalidValue for steps that a model does not take, and for a model that needs a mask, as no batch has one."""
        for model in models:
            if model.spec.needs_mask:
                raise InvalidValue(
                    f"model {model.spec.name} needs a mask; expected a call of `rddm restore --mask` for each picture"
                )
        judges = [_classifier_digest()] if parameters.is_auto else []
        self.digest = " ".join([*(model.digest for model in models), *judges])
        self.steps = ",".join(str(steps_of(model.spec, parameters.steps)) for model in models)

    def suffixes(self, picture: bytes, parameters: RestoreParameters) -> tuple[str, ...]:
        """See Restorer.suffixes."""
        return self._format(picture, parameters).suffixes

    @staticmethod
    def _format(picture: bytes, parameters: RestoreParameters) -> PictureFormat:
        return usual_format(parameters, sniff(picture)) if parameters.format is None else FORMATS[parameters.format]


def _classifier_digest() -> str:
    from service.analysis.classifier import Classifier  # noqa: PLC0415 (only task=auto asks it)

    return Classifier().digest


@dataclass(frozen=True)
class BatchJob:
    """What is asked for.

    shard: (index, count), index from 0: the objects whose key's CRC-32 leaves that remainder. retry_failed: pictures that failed
    before are tried again. most_bytes: of a picture's file. clips: how clips are calmed and written; the rest is as for pictures.
    """

    parameters: RestoreParameters
    shard: tuple[int, int] = (0, 1)
    retry_failed: bool = False
    dry_run: bool = False
    most_bytes: int = 200 << 20
    keeps_times: bool = True
    clips: ClipParameters = PLAIN_CLIPS

    @property
    def log(self) -> str:
        """The name of this shard's records."""
        return f"records-{self.shard[0]:05d}{self._of_all_shards}"

    @property
    def _of_all_shards(self) -> str:
        return f"-of-{self.shard[1]:05d}"

    def may_have_recorded(self, log: str) -> bool:
        """Whether a log can tell of this shard's objects: not those of the other shards of the same number."""
        return log == self.log or not log.endswith(self._of_all_shards)


def recipe_of(restorer: Restorer, parameters: RestoreParameters, clips: ClipParameters | None = None) -> str:
    """What the result is a function of beside the picture: model digest, steps, and every parameter, hashed to 16 digits.

    What is asked of clips counts where it is not the default.
    """
    said = parameters.model_dump_json(exclude={"max_latency_ms", "webhook", "steps"})
    said += clips.model_dump_json() if clips not in (None, PLAIN_CLIPS) else ""
    return hashlib.sha256(f"{restorer.digest} {restorer.steps} {said}".encode()).hexdigest()[:16]


def target_key(key: str, suffixes: tuple[str, ...]) -> str:
    """The source's key; one whose suffix belongs to another format gets the right one behind it, so that no two keys meet."""
    name = key.rpartition("/")[2]
    suffix = f".{name.rpartition('.')[2].lower()}" if "." in name else ""
    return key if not suffix or suffix in suffixes else f"{key}{suffixes[0]}"


class PictureWork:
    """Does what a job asks for, one object at a time. resumed: whether an earlier run left records; on_frame: of each clip's."""

    def __init__(
        self,
        job: BatchJob,
        source: Store,
        target: Store,
        restorer: Restorer,
        *,
        resumed: bool,
        on_frame: Callable[[], None] = lambda: None,
    ) -> None:
        self._job, self._source, self._target, self._restorer = job, source, target, restorer
        self._is_resumed, self._on_frame = resumed, on_frame
        self._recipe = recipe_of(restorer, job.parameters, job.clips)

    async def record_of(self, entry: Entry, earlier_target: str | None) -> Record:
        """What came of the object, whose result lies in the target then. Raises StoreError where no other object can fare better.

        earlier_target: the key that an earlier record gives its result; that one may be replaced.
        """
        started = time.monotonic()
        record = Record(entry.key, "failed", self._recipe, entry.tag, finished=0.0, bytes_in=entry.size)
        try:
            record = await self._restore(entry, record, earlier_target)
        except UnsupportedMedia as refused:
            record = replace(record, status="not-a-picture", problem=refused.detail)
        except ServiceError as error:
            record = replace(record, problem=error.detail)
        except StoreError as error:
            if error.fatal:
                raise
            record = replace(record, problem=str(error))
        return replace(record, seconds=round(time.monotonic() - started, 4), finished=round(time.time(), 3))

    async def _restore(self, entry: Entry, record: Record, earlier_target: str | None) -> Record:
        if entry.problem is not None:
            return replace(record, problem=entry.problem)
        is_small = entry.size is not None and entry.size <= WHOLE_BYTES
        start = await patiently(lambda: self._source.read(entry.key, None if is_small else HEAD_BYTES))
        if begins_as_clip(start):
            return await self._restore_clip(entry, record, earlier_target)
        picture = await self._picture(entry, start, is_small=is_small)
        target = target_key(entry.key, self._restorer.suffixes(picture, self._job.parameters))
        if (earlier := await self._result_without_record(entry, target, record)) is not None:
            return replace(earlier, bytes_in=len(picture))
        restored = await patiently(lambda: self._restored(picture))
        digest = hashlib.sha256(restored.body).hexdigest()
        done = replace(
            record,
            status="restored",
            target=target,
            bytes_in=len(picture),
            bytes_out=len(restored.body),
            width=restored.width,
            height=restored.height,
            digest=digest,
        )
        await self._write(entry, done, restored.body, earlier_target)
        return done

    async def _restore_clip(self, entry: Entry, record: Record, earlier_target: str | None) -> Record:
        """Segments stay in the scratch folder until the clip's result is written, so that a killed run goes on in its midst."""
        try:
            parameters = parameters_for(self._job.parameters, self._job.clips)
        except UnsupportedMedia as missing:  # the extra: not the clip's fault, and another run may have it
            return replace(record, problem=missing.detail)
        suffix = SUFFIX_OF[parameters.options().container]
        target = target_key(entry.key, tuple(name for name, kind in SUFFIXES.items() if SUFFIX_OF[kind] == suffix))
        if (earlier := await self._result_without_record(entry, target, record)) is not None:
            return earlier
        with opened_scratch(self._target, entry.key) as scratch:
            async with self._source.as_file(entry.key) as source:
                return await self._restore_file(entry, replace(record, target=target), source, scratch, parameters, earlier_target)

    async def _restore_file(
        self, entry: Entry, record: Record, source: Path, scratch: Path, parameters: ClipParameters, earlier_target: str | None
    ) -> Record:
        result = scratch / f"result{SUFFIX_OF[parameters.options().container]}"
        try:
            size = await patiently(
                lambda: self._restorer.restore_clip(source, result, scratch / "work", parameters, self._on_frame)
            )
        except ServiceError as error:
            return replace(record, target=None, problem=error.detail)
        done = replace(
            record,
            status="restored",
            bytes_in=entry.size,
            bytes_out=(await asyncio.to_thread(result.stat)).st_size,
            width=size.width,
            height=size.height,
            frames=size.frames,
            digest=await asyncio.to_thread(digest_of, result),
        )
        await self._write(entry, done, result, earlier_target)
        return done

    async def _restored(self, picture: bytes) -> Restored:
        """A picture is to blame for the end of its process only if that happens again: a machine that goes down ends them, too."""
        try:
            return await self._restorer.restore(picture, self._job.parameters)
        except WorkerDied:
            await asyncio.sleep(DIED_PAUSE)
            return await self._restorer.restore(picture, self._job.parameters)

    async def _result_without_record(self, entry: Entry, target: str, record: Record) -> Record | None:
        """The record of a result that a killed run wrote and had no time to note, where the store keeps facts beside results."""
        if not self._is_resumed or self._target.record_seconds == 0:
            return None
        noted = await patiently(lambda: self._target.facts(target)) or {}
        if noted.get(RECIPE_FACT) != self._recipe or noted.get(TAG_FACT) != entry.tag:
            return None
        return replace(record, status="restored", target=target, digest=noted.get(DIGEST_FACT))

    async def _picture(self, entry: Entry, start: bytes, *, is_small: bool) -> bytes:
        """The whole file. Raises UnsupportedMedia for what is no picture, before much of it is read."""
        if entry.size is not None and entry.size > self._job.most_bytes:
            raise StoreError(f"the file has {entry.size} bytes; at most {self._job.most_bytes} are read")
        sniff(start)
        return start if is_small else await patiently(lambda: self._source.read(entry.key))

    async def _write(self, entry: Entry, record: Record, body: bytes | Path, earlier_target: str | None) -> None:
        """Creates the result, or replaces one that an earlier record says is ours; a file of somebody else is never lost."""
        target = record.target or entry.key
        facts = {RECIPE_FACT: self._recipe, TAG_FACT: entry.tag, DIGEST_FACT: record.digest or ""}
        modified = entry.modified if self._job.keeps_times else None
        ours = earlier_target == target
        try:
            await patiently(lambda: self._target.write(target, body, facts, modified=modified, replace=ours))
        except AlreadyThere:
            noted = await patiently(lambda: self._target.facts(target)) or {}
            if RECIPE_FACT in noted:  # a run that was killed between the result and its record
                await patiently(lambda: self._target.write(target, body, facts, modified=modified, replace=True))
            elif hashlib.sha256(await patiently(lambda: self._target.read(target))).hexdigest() != record.digest:
                raise StoreError(
                    f"{target} is there already and no record says that it is a result; expected another target"
                ) from None


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """The call's result; what may pass (a busy store, a full queue) is tried again, after pauses that double."""
    for attempt in range(MOST_TRIES):
        try:
            return await call()
        except (StoreError, QueueFull, EngineUnavailable) as error:
            passing = not isinstance(error, StoreError) or error.transient
            if not passing or attempt == MOST_TRIES - 1:
                raise
            await asyncio.sleep(min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt) * random.uniform(0.5, 1.5))  # noqa: S311
    raise AssertionError("unreachable")
