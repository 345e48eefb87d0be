"""What goes between the gateway and a worker process: JSON facts and raw blobs, never pickles, as a worker reads hostile files."""

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

LENGTH = struct.Struct(">QI")  # length of everything that follows, and of the facts
DTYPES = ("|u1", "<u2")


def pack(facts: Mapping[str, Any]) -> list[bytes | memoryview]:
    """Facts with bytes and uint8 or uint16 arrays in them, at any depth, as buffers to write one after the other."""
    blobs: list[bytes | memoryview] = []

    def replaced(value: object) -> object:
        if isinstance(value, np.ndarray):
            blobs.append(np.ascontiguousarray(value).data.cast("B"))
            return {"$blob": len(blobs[-1]), "dtype": value.dtype.str, "shape": value.shape}
        if isinstance(value, bytes):
            blobs.append(value)
            return {"$blob": len(value)}
        raise TypeError(f"{type(value).__name__} cannot go into a parcel")

    told = json.dumps(facts, default=replaced).encode()
    return [LENGTH.pack(len(told) + sum(len(blob) for blob in blobs), len(told)), told, *blobs]


def unpack(told_length: int, payload: bytes) -> dict[str, Any]:
    """What pack was given. Raises ValueError where lengths, types or shapes do not fit one another."""
    at = told_length
    view = memoryview(payload)

    def restored(value: dict[str, Any]) -> object:
        nonlocal at
        if "$blob" not in value:
            return value
        blob = view[at : at + value["$blob"]]
        at += value["$blob"]
        if len(blob) != value["$blob"]:
            raise ValueError("a parcel ends before its last blob")
        if "dtype" not in value:
            return bytes(blob)
        if value["dtype"] not in DTYPES:
            raise ValueError(f"an array of {value['dtype']} in a parcel; expected one of {DTYPES}")
        return np.frombuffer(blob, value["dtype"]).reshape(value["shape"])

    facts = json.loads(payload[:told_length], object_hook=restored)
    if not isinstance(facts, dict):
        raise ValueError("a parcel's facts are not a mapping")
    return facts
