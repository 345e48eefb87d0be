"""What a worker process answers, without the process."""

import mmap
from io import BytesIO
from typing import Any

import numpy as np
import pytest

from service.errors import UnsupportedMedia
from service.pictures.formats import sniff
from service.pictures.workers import worker
from service.pictures.workers.framing import LENGTH, pack, unpack
from service.pictures.workers.worker import answer, serve
from tests.service.conftest import file_of, pixels_of

BOUNDS = {"max_pixels": 10_000, "max_side": 1000}


def test_a_file_is_decoded_and_its_pixels_are_encoded() -> None:
    reply = answer({"task": "decode", "data": file_of(pixels_of(8, 12)), **BOUNDS})
    assert np.array_equal(reply["picture"]["pixels"], pixels_of(8, 12))
    options = {"metadata": "keep", "file_quality": None, "lossless": None}
    encoded = answer({"task": "encode", "picture": reply["picture"], "format": "webp", "options": options})
    assert sniff(encoded["data"]).name == "webp"


def test_a_refusal_is_carried_by_its_name_and_words() -> None:
    reply = answer({"task": "decode", "data": b"GIF89a", **BOUNDS})
    assert reply["error"] == UnsupportedMedia.__name__
    assert reply["detail"].startswith("a GIF picture is not read here")


def test_want_of_memory_is_the_pictures_size(monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(_: dict[str, Any]) -> dict[str, Any]:
        raise MemoryError

    monkeypatch.setitem(worker.TASKS, "decode", greedy)
    assert answer({"task": "decode"}) == {"error": "TooLarge", "detail": "the picture needs more memory than a picture may"}


def test_messages_are_answered_in_order_until_the_input_ends() -> None:
    shared = mmap.mmap(-1, 64)
    source = BytesIO(b"".join(bytes(part) for number in (1, 2) for part in pack({"number": number})) + b"cut")
    sink = BytesIO()
    serve(source, sink, shared, lambda facts: {"twice": 2 * facts["number"]})
    messages, data = [], sink.getvalue()
    while data:
        length, facts_length = LENGTH.unpack(data[: LENGTH.size])
        messages.append(unpack(facts_length, data[LENGTH.size : LENGTH.size + length]))
        data = data[LENGTH.size + length :]
    assert messages == [{"twice": 2}, {"twice": 4}]
