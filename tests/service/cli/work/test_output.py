"""Lines come out as they are, with a bar or without; a process that shows no bar does not pay for it."""

import asyncio
import subprocess
import sys
from io import StringIO
from typing import Any

import pytest

from service.cli.work import output
from service.cli.work.backends import OutputFile
from service.cli.work.output import display, summary_of


class Terminal(StringIO):
    """A standard error that somebody looks at."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [StringIO, Terminal])
@pytest.mark.parametrize("line", ["[bold]x[/bold].png", ":smile: [/]", "a" * 300, "1.5 s, 'x'"])
async def test_no_name_is_taken_for_markup_or_broken(line: str, stream: type[StringIO], monkeypatch: Any) -> None:
    error = stream()
    monkeypatch.setattr(sys, "stderr", error)
    monkeypatch.setattr(output, "BAR_AFTER_SECONDS", 0.0)
    monkeypatch.setenv("COLUMNS", "40")
    with display("restoring", 2) as shown:
        await asyncio.sleep(0.01)
        shown.tell(line)
        shown.show(1, 2)
    assert f"{line}\n" in error.getvalue()
    assert ("restoring" in error.getvalue()) == error.isatty()


async def test_short_work_shows_no_bar(monkeypatch: Any) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    with display("restoring", 1) as shown:
        shown.show(1, 1)
        shown.tell("done")
    assert sys.stderr.getvalue() == "done\n"  # type: ignore[attr-defined]
    assert shown._bar is None


def test_a_verb_is_loaded_without_what_draws_bars() -> None:
    modules = "import sys, service.cli.restore, service.cli.generate; print('rich' in sys.modules, 'httpx2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", modules], capture_output=True, check=True).stdout.split() == [b"False", b"False"]


def test_a_summary_names_model_steps_and_seed() -> None:
    facts = dict.fromkeys(OutputFile.__dataclass_fields__) | {"model": "lowlight", "steps": 2, "seed": 7}
    assert summary_of(OutputFile(**facts)) == "lowlight, 2 steps, seed 7"  # type: ignore[arg-type]
