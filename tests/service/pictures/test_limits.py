"""Where the kernel bounds no memory, the gateway does: it ends a process that takes more than it may, and no other."""

import asyncio
import subprocess
import sys

import pytest

from service import errors
from service.pictures.workers import watch
from service.pictures.workers.watch import apart, watched

TAKES = "import sys, time; held = bytearray({} << 20); print('took', flush=True); time.sleep({}); print('done', flush=True)"


async def lines_of(mebibytes: int, seconds: float, most_bytes: int) -> bytes:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", TAKES.format(mebibytes, seconds), stdout=asyncio.subprocess.PIPE, **apart()
    )
    assert process.stdout is not None
    try:
        async with watched(process, most_bytes):
            return await process.stdout.readexactly(len("took\ndone\n"))
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.fixture
def unbounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "bounds_memory", lambda: False)


@pytest.mark.usefixtures("unbounded")
async def test_a_process_that_takes_too_much_is_ended_and_the_reason_is_said() -> None:
    with pytest.raises(errors.TooLarge, match="more memory than it may have"):
        await lines_of(200, 30.0, 100 << 20)


@pytest.mark.usefixtures("unbounded")
async def test_one_that_keeps_within_its_memory_is_left_alone() -> None:
    assert await lines_of(20, 0.2, 200 << 20) == b"took\ndone\n"


@pytest.mark.usefixtures("unbounded")
async def test_one_that_ends_by_itself_is_not_said_to_be_too_large() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "", stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    with pytest.raises(asyncio.IncompleteReadError):
        async with watched(process, 1 << 30):
            await process.stdout.readexactly(1)
    await process.wait()


def test_a_confined_process_without_limits_of_the_system_runs_on() -> None:
    """confine() must not fail where there is no `resource`; the first line hides it as Windows does."""
    code = "import sys; sys.modules['resource'] = None\n"
    code += "from service.pictures.workers.limits import confine\nconfine(1 << 20); print('on')"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "on\n"
