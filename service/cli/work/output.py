"""What verbs show on standard error: a line for each thing that is done, and on a terminal a bar, once the work has taken a moment.

Few commands are at work for so long: the others need not import what draws the bar, a twentieth of what they take.
"""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from service.cli.work.backends import OutputFile

if TYPE_CHECKING:
    from rich.progress import Progress

BAR_AFTER_SECONDS = 1.0


class Display:
    """words: of what is done; done: how many of `total` are, None where that is not known."""

    def __init__(self, words: str, total: int | None) -> None:
        self._words, self._done, self._total = words, 0, total
        self._bar: Progress | None = None

    def show(self, done: int, total: int | None) -> None:
        """So much is done."""
        self._done, self._total = done, total
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=done, total=total)

    def tell(self, line: str) -> None:
        """A line as it is: no name is taken for markup or broken at the edge."""
        if self._bar is None:
            print(line, file=sys.stderr, flush=True)
        else:
            self._bar.console.print(line, highlight=False, markup=False, emoji=False, soft_wrap=True)

    def draw(self, stack: ExitStack) -> None:
        """From now on, until the stack is left, there is a bar."""
        from rich.console import Console  # noqa: PLC0415 (short work shows no bar)
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = stack.enter_context(Progress(*columns, console=Console(stderr=True)))
        self._bar.add_task(self._words, completed=self._done, total=self._total)


@contextmanager
def display(words: str, total: int | None = None) -> Iterator[Display]:
    """Of work in the running event loop."""
    with ExitStack() as stack:
        shown = Display(words, total)
        if sys.stderr.isatty():
            timer = asyncio.get_running_loop().call_later(BAR_AFTER_SECONDS, shown.draw, stack)
            stack.callback(timer.cancel)
        yield shown


def summary_of(result: OutputFile) -> str:
    if not result.model:
        return "nothing is wrong: as it came"
    return f"{result.model}, {result.steps} steps, seed {result.seed}"
