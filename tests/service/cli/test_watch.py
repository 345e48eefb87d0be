"""rddm watch: files that are being written are waited for, none is done twice, and a start goes on where the last one ended."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from service.bulk import Summary
from service.bulk.entries import is_unfinished, settled
from service.bulk.folder import Folder
from service.bulk.records import Record
from service.cli import watch as watching
from service.cli.watch import watch
from tests.models import release_tiny
from tests.service.bulk.conftest import png

INTERVAL = 0.5


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    release_tiny(folder)
    return folder


class Watching:
    """A process that watches `source` for as long as the block lasts."""

    def __init__(self, models: Path, source: Path, target: Path) -> None:
        self.target = target
        environment = {**os.environ, "RDDM_MODEL_REPOSITORY": str(models)}
        command = [sys.executable, "-m", "rddm", "watch", str(source), str(target), "--interval", str(INTERVAL)]
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        assert "watching" in self.process.stdout.readline()

    def __enter__(self) -> "Watching":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 143
        assert self.process.stdout is not None
        self.process.stdout.close()

    def records(self) -> list[dict]:
        logs = self.target.glob(".rddm/records-*.jsonl")
        return [json.loads(line) for log in logs for line in log.read_text().splitlines()]


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)


def test_a_folder_that_fills_while_files_are_written_and_after_a_restart(models: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    (source / "first.png").write_bytes(png(1))
    with Watching(models, source, target) as watching:
        wait_for((target / "first.png").is_file)
        whole = png(2)
        with (source / "slow.png").open("wb") as file:
            for at in range(0, len(whole), len(whole) // 6):
                file.write(whole[at : at + len(whole) // 6])
                file.flush()
                time.sleep(INTERVAL / 4)
                assert not (target / "slow.png").exists(), "half a file was read"
        wait_for((target / "slow.png").is_file)
        before = (target / "first.png").read_bytes()
        (source / "first.png").write_bytes(png(3))
        wait_for(lambda: (target / "first.png").read_bytes() != before)
    (source / "later").mkdir()
    (source / "later" / "third.png").write_bytes(png(4))
    with Watching(models, source, target) as watching:
        wait_for((target / "later" / "third.png").is_file)
        wait_for(lambda: len(watching.records()) == 4)
    done = Counter((record["key"], record["status"]) for record in watching.records())
    expected = {"first.png": 2, "slow.png": 1, "later/third.png": 1}
    assert done == {(key, "restored"): count for key, count in expected.items()}


async def entries_of(folder: Path, change: Callable[[int], None], looks: int) -> list[str]:
    """The keys that are given while `change` is called between looks."""
    given: list[str] = []

    async def collect() -> None:
        async for entry in settled(Folder(str(folder)), 0.05):
            given.append(entry.key)

    task = asyncio.create_task(collect())
    for look in range(looks):
        await asyncio.sleep(0.12)
        change(look)
    await asyncio.sleep(0.3)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return given


async def test_a_file_is_given_once_for_each_state_and_an_empty_one_never(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"1")
    (tmp_path / "empty.png").touch()
    (tmp_path / "b.png.part").write_bytes(b"2")

    def change(look: int) -> None:
        if look == 2:
            (tmp_path / "a.png").write_bytes(b"longer")
        if look == 4:
            (tmp_path / "a.png").unlink()

    assert await entries_of(tmp_path, change, 6) == ["a.png", "a.png"]


def test_names_of_copies_under_way_are_known() -> None:
    assert all(map(is_unfinished, ("a.jpg.part", ".a.jpg.Xy12", "x/.trash/b.png", "c.CRDOWNLOAD")))
    assert not any(map(is_unfinished, ("a.jpg", "x/b.part.png", "part")))


@pytest.mark.parametrize(("option", "value"), [("--interval", "0"), ("--interval", "soon"), ("--steps", "0"), ("--steps", "x")])
def test_a_value_that_is_not_allowed_is_named(option: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = [str(tmp_path), str(tmp_path / "out"), option, value]
    with contextlib.suppress(SystemExit):
        assert watch(argv) == 2
    assert value in (errors := capsys.readouterr().err)
    assert option.strip("-") in errors


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert watch([str(tmp_path / "gone"), str(tmp_path)]) == 2
    assert "gone is no folder" in capsys.readouterr().err


def test_lines_are_not_broken_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    problem = Record("[red]a.png", "not-a-picture", "", "", 0.0, problem="words " * 20)
    watching._lines()(Summary(refused=1, problems=[problem]))
    assert capsys.readouterr().err.splitlines() == [
        f"[red]a.png: {'words ' * 20}",
        "0 restored, 0 failed, 1 no pictures, 0 of earlier runs",
    ]
