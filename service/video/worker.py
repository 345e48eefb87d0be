"""The worker process of one clip: it reads frames, or writes segments and joins them, as messages from standard input ask.

Reading and writing have a process each, so that they go on side by side. Like the workers of pictures (service.pictures.workers)
it knows no secrets and is killed at a limit; it may write files, since segments are kept on the disk.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from service import errors
from service.pictures.workers.framing import mapped
from service.pictures.workers.limits import confine
from service.pictures.workers.worker import serve
from service.video.colour import layout_of
from service.video.facts import ClipBounds, ClipFacts, ClipOptions
from service.video.reader import ClipReader, Frame
from service.video.writer import SegmentWriter, check_encoder, check_streams, join, target_layout


class ClipSession:
    """What is open in this process, and the messages that it answers."""

    def __init__(self) -> None:
        self._reader: ClipReader | None = None
        self._frames: Iterator[Frame] = iter(())
        self._writer: SegmentWriter | None = None
        self._tasks: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "ready": lambda _: {},
            "open": self.open,
            "check": self.check,
            "read": self.read,
            "begin": self.begin,
            "write": self.write,
            "finish": self.finish,
            "join": self.join,
        }

    def answer(self, facts: dict[str, Any]) -> dict[str, Any]:
        """The task's answer, or {"error", "detail"} for an error of the gateway."""
        try:
            return self._tasks[facts.pop("task")](facts)
        except errors.ServiceError as known:
            return {"error": type(known).__name__, "detail": known.detail}
        except MemoryError:
            return {"error": errors.TooLarge.__name__, "detail": "the clip needs more memory than a clip may"}
        except OSError as failed:
            return {"error": errors.StoreUnavailable.__name__, "detail": f"the clip cannot be written: {failed.strerror or failed}"}

    def open(self, facts: dict[str, Any]) -> dict[str, Any]:
        """{"path", "bounds"} -> {"facts"}."""
        self._reader = ClipReader(Path(facts["path"]), ClipBounds(**facts["bounds"]))
        self._frames = self._reader.frames()
        return {"facts": self._reader.facts.document()}

    @staticmethod
    def check(facts: dict[str, Any]) -> dict[str, Any]:
        """{"facts", "options"}: whether the clip can be written so."""
        options, clip = ClipOptions(**facts["options"]), ClipFacts.from_document(facts["facts"])
        check_encoder(options.encoder)
        check_streams(clip, options)
        return {"layout": target_layout(layout_of(clip.layout), options).name}

    def read(self, _: dict[str, Any]) -> dict[str, Any]:
        """The next frame, {"pixels", "pts", "duration"}, or {"notes"} after the last."""
        assert self._reader is not None
        frame = next(self._frames, None)
        if frame is None:
            return {"notes": list(self._reader.notes)}
        return {"pixels": frame.pixels, "pts": frame.pts, "duration": frame.duration}

    def begin(self, facts: dict[str, Any]) -> dict[str, Any]:
        """{"path", "facts", "options"}: a segment."""
        self._writer = SegmentWriter(Path(facts["path"]), ClipFacts.from_document(facts["facts"]), ClipOptions(**facts["options"]))
        return {}

    def write(self, facts: dict[str, Any]) -> dict[str, Any]:
        """{"pixels"} into the segment."""
        assert self._writer is not None
        self._writer.write(facts["pixels"])
        return {}

    def finish(self, _: dict[str, Any]) -> dict[str, Any]:
        """The segment is whole."""
        assert self._writer is not None
        self._writer.close()
        return {}

    @staticmethod
    def join(facts: dict[str, Any]) -> dict[str, Any]:
        """{"segments", "times", "source", "target", "facts", "options"} -> {"notes"}."""
        notes = join(
            [Path(segment) for segment in facts["segments"]],
            [(pts, duration) for pts, duration in facts["times"]],
            Path(facts["source"]),
            Path(facts["target"]),
            ClipFacts.from_document(facts["facts"]),
            ClipOptions(**facts["options"]),
        )
        return {"notes": notes}


def main() -> None:
    """Of a process that `service.pictures.workers.pool.Worker` started."""
    memory_bytes, descriptor, shared_bytes, file_bytes = (int(argument) for argument in sys.argv[1:])
    confine(memory_bytes, file_bytes)
    serve(sys.stdin.buffer, sys.stdout.buffer, mapped(descriptor, shared_bytes), ClipSession().answer)
