"""The batch sizes that were proven on this machine, in a small file: a later process need not prove them again.

Nothing depends on the file: missing, damaged, of another format or read-only, the service starts without it.
"""

import logging
import threading
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from service.cores import processor, usable_cores
from service.scheduling.batch import BatchSizes

log = logging.getLogger("rddm.scheduling")
MOST_ENTRIES = 256
ENTRIES = TypeAdapter(dict[str, BatchSizes])


class LearnedFile:
    """path: None for no file. engine: name, version and threads of what computes; what another engine taught does not count."""

    def __init__(self, path: Path | None, engine: str) -> None:
        self._path = path
        self._machine = f"{engine} on {processor()}, {usable_cores()} cores"

    def get(self, digest: str) -> BatchSizes | None:
        """What was proven of the model file with this digest."""
        return self._read().get(self._key(digest))

    def put(self, digest: str, sizes: BatchSizes) -> None:
        """Writes the file anew, or logs that it cannot be written."""
        others = {key: other for key, other in self._read().items() if key != self._key(digest)}
        entries = [*others.items(), (self._key(digest), sizes)][-MOST_ENTRIES:]
        try:
            self._write(ENTRIES.dump_json(dict(entries), indent=1))
        except OSError as error:
            log.info("what was learnt of models cannot be kept: %s", error)

    def _key(self, digest: str) -> str:
        return f"{digest} by {self._machine}"

    def _read(self) -> dict[str, BatchSizes]:
        try:
            return ENTRIES.validate_json(self._path.read_bytes()) if self._path is not None and self._path.exists() else {}
        except (OSError, ValidationError) as error:
            log.info("what was learnt of models cannot be read: %s", type(error).__name__)
            return {}

    def _write(self, text: bytes) -> None:
        """The file whole, or not at all."""
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        part = self._path.with_suffix(f".{threading.get_native_id()}")
        try:
            part.write_bytes(text)
            part.replace(self._path)
        finally:
            part.unlink(missing_ok=True)
