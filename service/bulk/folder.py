"""A folder as a store. Files appear whole, under their own names, or not at all."""

import asyncio
import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path

from service.bulk.stores import STATE, AlreadyThere, Entry, StoreError

LISTED_AT_ONCE = 1000
PART_PREFIX = ".rddm-"
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
LINK_MISSING = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}  # a file system without hard links


class Folder:
    """Keys are paths below the folder. Linked folders are not followed, but named."""

    record_seconds = 0.0

    def __init__(self, path: str, *, may_create: bool = False) -> None:
        """Raises StoreError where there is no such folder and it may not be created."""
        self._root = Path(path)
        self._prefix = os.path.join(self._root, "")  # noqa: PTH118 (what is to be cut from a key's path)
        self.name = path
        if not path:
            raise StoreError("'' is no path; expected the name of a folder, or s3://...", fatal=True)
        if not self._root.is_dir() and not may_create:
            raise StoreError(f"{path} is no folder; expected a folder, a manifest (.jsonl, .parquet) or s3://...", fatal=True)
        if self._root.exists() and not self._root.is_dir():
            raise StoreError(f"{path} is a file; expected a folder for the results", fatal=True)

    @property
    def root(self) -> Path:
        """The folder's own path, resolved."""
        return self._root.resolve()

    async def entries(self) -> AsyncIterator[Entry]:
        """See Store.entries; folder by folder, each in the order in which the file system gives its names.

        Sorted names would have to be held all at once: 100,000 of them took 88 MB.
        """
        walk = self._walk()
        while batch := await asyncio.to_thread(lambda: list(islice(walk, LISTED_AT_ONCE))):
            for entry in batch:
                yield entry if _is_utf8(entry.key) else _misnamed(entry.key)

    def _walk(self) -> Iterator[Entry]:
        waiting = [str(self._root)]
        while waiting:
            folder = waiting.pop()
            try:
                inside = os.scandir(folder)
            except OSError as error:
                yield Entry(self._key(folder), problem=f"the folder cannot be listed: {error.strerror}")
                continue
            with inside:
                for one in inside:
                    if one.name == STATE or one.name.startswith(PART_PREFIX):
                        continue
                    if not one.is_dir():
                        yield self._entry(one)
                    elif one.is_symlink():
                        yield Entry(self._key(one.path), problem="a link to a folder is not followed")
                    else:
                        waiting.append(one.path)

    def _entry(self, one: "os.DirEntry[str]") -> Entry:
        key = self._key(one.path)
        try:
            facts = one.stat()
        except OSError as error:
            return Entry(key, problem=f"the file cannot be read: {error.strerror}")
        if not one.is_file():
            return Entry(key, problem="neither a file nor a folder")
        return Entry(key, facts.st_size, f"{facts.st_size}-{facts.st_mtime_ns}", facts.st_mtime)

    def _key(self, path: str) -> str:
        """By strings: paths as objects took a third of a listing's time."""
        return path.removeprefix(self._prefix).replace(os.sep, "/")

    def _path(self, key: str) -> Path:
        path = self._root.joinpath(*key.split("/"))
        if ".." in key.split("/") or key.startswith("/"):
            raise StoreError(f"the key {key[:80]!r} leads out of {self.name}")
        return path

    async def read(self, key: str, most: int | None = None) -> bytes:
        """See Store.read."""
        return await asyncio.to_thread(self._read, self._path(key), most)

    def _read(self, path: Path, most: int | None) -> bytes:
        try:
            with path.open("rb") as file:
                return file.read(-1 if most is None else most)
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error.strerror}") from error

    @asynccontextmanager
    async def as_file(self, key: str) -> AsyncIterator[Path]:
        """See Store.as_file."""
        path = self._path(key)
        await asyncio.to_thread(self._read, path, 1)  # an error of the file is one of the store
        yield path

    async def facts(self, key: str) -> Mapping[str, str] | None:
        """A file has no room for facts: {} where there is one. The records tell, since they last before the next picture."""
        return {} if await asyncio.to_thread(self._path(key).is_file) else None

    async def write(
        self,
        key: str,
        body: bytes | Path,
        facts: Mapping[str, str],  # noqa: ARG002
        *,
        modified: float | None = None,
        replace: bool = False,
    ) -> None:
        """See Store.write. A temporary file beside it takes the name when all bytes are there."""
        await asyncio.to_thread(self._write, self._path(key), body, modified, replace)

    def _write(self, path: Path, body: bytes | Path, modified: float | None, replace: bool) -> None:
        part = path.with_name(f"{PART_PREFIX}{uuid.uuid4().hex}.part")
        try:
            _make_folder(path.parent)
            shutil.copyfile(body, part) if isinstance(body, Path) else part.write_bytes(body)
            if modified is not None:
                os.utime(part, (modified, modified))
            if replace:
                part.replace(path)
            else:
                _take_name(part, path)
        except FileExistsError as there:
            raise AlreadyThere(f"{path} is there already") from there
        except OSError as error:
            raise StoreError(f"{path} cannot be written: {error.strerror}", fatal=error.errno in FULL) from error
        finally:
            with contextlib.suppress(OSError):  # a file system that is read-only says so here, too
                part.unlink(missing_ok=True)

    async def append(self, log: str, lines: bytes) -> None:
        """See Store.append."""
        await asyncio.to_thread(self._append, self._root / STATE / f"{log}.jsonl", lines)

    def _append(self, path: Path, lines: bytes) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                if file.tell() and not _ends_in_newline(path):
                    file.write(b"\n")  # a line that was cut by a kill stays one broken line
                file.write(lines)
        except OSError as error:
            raise StoreError(f"{path} cannot be written: {error.strerror}", fatal=True) from error

    async def logs(self, prefix: str, wanted: Callable[[str], bool] = bool) -> AsyncIterator[bytes]:
        """See Store.logs."""
        folder = self._root / STATE
        for path in sorted(path for path in folder.glob(f"{prefix}*.jsonl") if wanted(path.stem)):
            with path.open("rb") as file:
                while lines := await asyncio.to_thread(file.readlines, 1 << 20):
                    for line in lines:
                        yield line


def _is_utf8(name: str) -> bool:
    """Whether records can hold it; bytes of a name that are none come as lone surrogates."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _make_folder(folder: Path) -> None:
    """Raises NotADirectoryError where a file has the name of it, or of one that it lies in."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(error.errno, f"{folder} is a file") from error


def _misnamed(key: str) -> Entry:
    return Entry(key.encode(errors="backslashreplace").decode(), problem="the name is no UTF-8; expected another name")


def _take_name(part: Path, path: Path) -> None:
    """Raises FileExistsError where the name is taken; between two writers one wins."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in LINK_MISSING:
            raise
        if path.exists():
            raise FileExistsError(error.errno, "exists", str(path)) from error
        part.replace(path)


def _ends_in_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
