"""What goes between the gateway and a worker process: JSON facts and raw blobs, never pickles, as a worker reads hostile files.

Facts go through a pipe, and so do blobs, unless all of a message's fit into memory that both processes see: a pipe takes them in
many small pieces, each of which wakes the other side.
"""

import json
import mmap
import os
import struct
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

LENGTH = struct.Struct(">QI")  # length of everything that follows, and of the facts
DTYPES = ("|u1", "<u2")
NOT_SHARED = -1
SHARED_BYTES = 4 << 20  # of each worker: a megapixel


def share(size: int = SHARED_BYTES) -> int:
    """A descriptor of so many bytes that another process can map, and that it cannot shrink beneath this one.

    NOT_SHARED where there is no such memory, on macOS and Windows: everything goes through the pipe then.
    """
    if sys.platform != "linux" or not hasattr(os, "memfd_create"):
        return NOT_SHARED
    import fcntl  # noqa: PLC0415  POSIX only

    shared = os.memfd_create("rddm-codec", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(shared, size)
    fcntl.fcntl(shared, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return shared


def mapped(descriptor: int, size: int) -> mmap.mmap | None:
    """The memory behind a descriptor of `share`."""
    return None if descriptor == NOT_SHARED else mmap.mmap(descriptor, size)


def pack(facts: Mapping[str, Any], shared: mmap.mmap | None = None) -> list[bytes | memoryview]:
    """Facts with bytes and uint8 or uint16 arrays in them, at any depth, as buffers to write one after the other.

    shared: where the blobs are put instead, if they fit.
    """
    blobs: list[bytes | memoryview] = []

    def replaced(value: object) -> object:
        if isinstance(value, np.ndarray):
            blobs.append(np.ascontiguousarray(value).data.cast("B"))
            return {"$blob": len(blobs[-1]), "dtype": value.dtype.str, "shape": value.shape}
        if isinstance(value, bytes):
            blobs.append(value)
            return {"$blob": len(value)}
        raise TypeError(f"{type(value).__name__} cannot go into a message")

    text = json.dumps(facts, default=replaced).encode()
    if shared is not None and sum(len(blob) for blob in blobs) <= len(shared):
        shared.seek(0)
        for blob in blobs:
            shared.write(blob)
        blobs.clear()
    return [LENGTH.pack(len(text) + sum(len(blob) for blob in blobs), len(text)), text, *blobs]


def unpack(facts_length: int, payload: bytes, shared: mmap.mmap | None = None) -> dict[str, Any]:
    """What pack was given. Raises ValueError where lengths, types or shapes do not fit one another.

    shared: where the blobs are if the payload ends with the facts; they are copied, as the other side may write there again.
    """
    in_shared = shared is not None and len(payload) == facts_length
    at = 0 if in_shared else facts_length
    source = shared if shared is not None and in_shared else memoryview(payload)

    def restored(value: dict[str, Any]) -> object:
        nonlocal at
        if "$blob" not in value:
            return value
        blob = source[at : at + value["$blob"]]
        at += value["$blob"]
        if len(blob) != value["$blob"]:
            raise ValueError("a message ends before its last blob")
        if "dtype" not in value:
            return bytes(blob)
        if value["dtype"] not in DTYPES:
            raise ValueError(f"an array of {value['dtype']} in a message; expected one of {DTYPES}")
        return np.frombuffer(blob, value["dtype"]).reshape(value["shape"])

    facts = json.loads(payload[:facts_length], object_hook=restored)
    if not isinstance(facts, dict):
        raise ValueError("a message's facts are not a mapping")
    return facts
