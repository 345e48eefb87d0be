"""What goes between the gateway and a worker process arrives as it was sent, or is refused."""

import json
import mmap
import os

import numpy as np
import pytest

from service.pictures.workers.framing import LENGTH, SHARED_BYTES, pack, share, unpack
from tests.service.conftest import pixels_of


def sent(facts: dict) -> tuple[int, bytes]:
    data = b"".join(bytes(buffer) for buffer in pack(facts))
    length, facts_length = LENGTH.unpack(data[: LENGTH.size])
    assert len(data) == LENGTH.size + length
    return facts_length, data[LENGTH.size :]


def test_a_parcel_arrives_as_it_was_sent() -> None:
    facts = {
        "a": 1,
        "deep": {"bytes": b"\0\xff", "none": None, "pixels": pixels_of(3, 5)},
        "wide": pixels_of(2, 2, 3, 65535),
        "last": b"",
    }
    message = unpack(*sent(facts))
    assert (message["a"], message["deep"]["bytes"], message["last"]) == (1, b"\0\xff", b"")
    assert np.array_equal(message["deep"]["pixels"], facts["deep"]["pixels"])
    assert message["wide"].dtype == np.uint16


def test_a_parcel_that_is_cut_short_or_holds_other_arrays_is_refused() -> None:
    facts_length, payload = sent({"pixels": pixels_of(8, 8)})
    with pytest.raises(ValueError, match="ends before"):
        unpack(facts_length, payload[:-1])
    facts_length, payload = sent({"pixels": np.zeros(4)})
    with pytest.raises(ValueError, match="expected one of"):
        unpack(facts_length, payload)
    with pytest.raises(TypeError, match="set"):
        pack({"things": {1}})


def test_blobs_that_fit_lie_in_shared_memory_and_larger_ones_go_with_the_parcel() -> None:
    descriptor = share()
    shared = mmap.mmap(descriptor, SHARED_BYTES)
    for count in (1, SHARED_BYTES, SHARED_BYTES + 1):
        facts = {"first": b"ab", "pixels": np.full(count - 2 if count > 2 else 0, 7, np.uint8)}
        buffers = pack(facts, shared)
        assert (len(buffers) > 2) == (count > SHARED_BYTES)
        _, facts_length = LENGTH.unpack(buffers[0])
        message = unpack(facts_length, b"".join(bytes(buffer) for buffer in buffers[1:]), shared)
        shared[: len(shared)] = bytes(len(shared))  # the other side goes on writing
        assert message["first"] == b"ab"
        assert np.array_equal(message["pixels"], facts["pixels"])
    with pytest.raises(PermissionError):
        os.ftruncate(descriptor, 0)  # would end this process at its next look
    shared.close()
    os.close(descriptor)


@pytest.mark.parametrize("facts", [[], "words", 7])
def test_facts_that_are_no_mapping_are_refused(facts: object) -> None:
    payload = json.dumps(facts).encode()
    with pytest.raises(ValueError, match="facts are not a mapping"):
        unpack(len(payload), payload)


def test_a_shape_that_does_not_fit_its_bytes_is_refused() -> None:
    payload = json.dumps({"pixels": {"$blob": 4, "dtype": "|u1", "shape": [3, 3]}}).encode()
    with pytest.raises(ValueError, match="reshape"):
        unpack(len(payload), payload + b"1234")
