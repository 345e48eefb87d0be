"""The parts of a start: nothing is noted unless it was asked for; threads and tasks note theirs in one list."""

import asyncio
import time
from contextvars import Context, copy_context

import pytest

from service import timings


def test_nothing_is_noted_unless_it_was_asked_for() -> None:
    def unheard() -> object:
        with timings.part("unheard"):
            pass
        timings.note("unheard", 1.0, 1.0)
        return timings.PARTS.get()

    assert Context().run(unheard) is None  # another test may have asked in this one's context


def test_threads_and_tasks_note_their_parts_in_one_list() -> None:
    def busy() -> None:
        with timings.part("thread"):
            while time.thread_time() < begin + 0.02:
                pass

    async def waiting() -> None:
        with timings.part("task", awaits=True):
            await asyncio.to_thread(busy)

    begin = time.thread_time() * 0
    parts = copy_context().run(lambda: (timings.record(), asyncio.run(waiting()))[0])
    assert [part.name for part in parts] == ["interpreter and imports", "thread", "task"]
    assert parts[1].cpu is not None
    assert parts[2].cpu is None
    assert parts[2].wall >= parts[1].wall >= parts[1].cpu


def test_a_table_has_a_line_for_each_part_and_the_sum_of_the_process() -> None:
    text = timings.table([timings.Part("read", 0.0123, 0.004), timings.Part("answer", 0.5, None)], "listening").splitlines()
    assert text[1].split() == ["read", "12", "4"]
    assert text[2].split() == ["answer", "500", "-"]
    assert text[3].split()[0] == "listening"
    assert int(text[3].split()[2]) >= 10


@pytest.mark.skipif(timings.process_age() is None, reason="the system does not tell when a process began")
def test_a_process_is_older_than_this_test() -> None:
    age = timings.process_age()
    assert age is not None
    assert 0 < age < time.clock_gettime(time.CLOCK_BOOTTIME)
