"""The lines that verbs print."""

from rich.console import Console

from service.cli.work.backends import OutputFile


def tell(console: Console, line: str) -> None:
    """A line as it is: no name is taken for markup or broken at the edge."""
    console.print(line, highlight=False, markup=False, emoji=False, soft_wrap=True)


def summary_of(result: OutputFile) -> str:
    if not result.model:
        return "nothing is wrong: as it came"
    return f"{result.model}, {result.steps} steps, seed {result.seed}"
