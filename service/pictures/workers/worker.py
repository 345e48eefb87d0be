"""The worker process: messages from standard input, decoded or encoded, messages to standard output, until the input ends."""

import mmap
import sys
import time
from collections.abc import Callable
from typing import Any, BinaryIO

from PIL import Image, PngImagePlugin

from service import errors
from service.pictures.colour import LARGEST_PROFILE
from service.pictures.decode import decode
from service.pictures.encode import encode
from service.pictures.formats import FORMATS, FileOptions
from service.pictures.picture import Bounds, Picture
from service.pictures.workers.framing import LENGTH, SHARED_BYTES, mapped, pack, unpack
from service.pictures.workers.limits import confine


def decoded(facts: dict[str, Any]) -> dict[str, Any]:
    """{"data", "max_pixels", "max_side"} -> {"picture"}."""
    return {"picture": decode(facts["data"], Bounds(facts["max_pixels"], facts["max_side"])).facts()}


def encoded(facts: dict[str, Any]) -> dict[str, Any]:
    """{"picture", "format", "options"} -> {"data"}."""
    return {"data": encode(Picture(**facts["picture"]), FORMATS[facts["format"]], FileOptions(**facts["options"]))}


def ready(_: dict[str, Any]) -> dict[str, Any]:
    """{} -> {"cpu_seconds"}: what it took this process to be ready."""
    return {"cpu_seconds": time.process_time()}


TASKS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {"ready": ready, "decode": decoded, "encode": encoded}


def answer(facts: dict[str, Any]) -> dict[str, Any]:
    """The task's answer, or {"error", "detail"} for an error of the gateway."""
    try:
        return TASKS[facts.pop("task")](facts)
    except errors.ServiceError as known:
        return {"error": type(known).__name__, "detail": known.detail}
    except MemoryError:
        return {"error": errors.TooLarge.__name__, "detail": "the picture needs more memory than a picture may"}


def serve(
    source: BinaryIO, sink: BinaryIO, shared: mmap.mmap | None, answer: Callable[[dict[str, Any]], dict[str, Any]] = answer
) -> None:
    """Answer one message after the other."""
    while len(head := source.read(LENGTH.size)) == LENGTH.size:
        length, facts_length = LENGTH.unpack(head)
        sink.writelines(pack(answer(unpack(facts_length, source.read(length), shared)), shared))
        sink.flush()


def main() -> None:
    """Of a process that `service.pictures.workers.pool.Worker` started."""
    PngImagePlugin.MAX_TEXT_CHUNK = LARGEST_PROFILE  # Pillow bounds profiles by it too
    Image.MAX_IMAGE_PIXELS = None  # the bounds of each request are checked instead
    memory_bytes, descriptor = (int(argument) for argument in sys.argv[1:])
    confine(memory_bytes)
    serve(sys.stdin.buffer, sys.stdout.buffer, mapped(descriptor, SHARED_BYTES))
