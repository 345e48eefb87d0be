"""Host arrays, and where work is done."""

import threading

import numpy as np

from service.engines.arrays import HOST, INLINE_VALUES, offload


def test_host_arrays_are_numpys_own() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert HOST.place(array) is array
    assert HOST.host(array) is array
    zeros = HOST.zeros((2, 3))
    assert (zeros.dtype, zeros.shape, float(zeros.sum())) == (np.float32, (2, 3), 0.0)


def test_concatenated_arrays_are_always_new_ones() -> None:
    array = np.ones((1, 3), np.float32)
    assert not np.shares_memory(HOST.concatenate([array], 0), array)
    assert HOST.concatenate([array, array], 1).shape == (1, 6)


async def test_little_is_done_here_and_much_beside_the_event_loop() -> None:
    here = threading.get_ident()
    assert await offload(INLINE_VALUES, threading.get_ident) == here
    assert await offload(INLINE_VALUES + 1, threading.get_ident) != here
    assert await offload(1, lambda a, *, b: a + b, 2, b=3) == 5
