"""Lines come out as they are."""

from io import StringIO

import pytest
from rich.console import Console

from service.cli.work.backends import OutputFile
from service.cli.work.output import summary_of, tell


@pytest.mark.parametrize("line", ["[bold]x[/bold].png", ":smile: [/]", "a" * 300, "1.5 s, 'x'"])
def test_no_name_is_taken_for_markup_or_broken(line: str) -> None:
    file = StringIO()
    tell(Console(file=file, width=40, force_terminal=True), line)
    assert file.getvalue() == line + "\n"


def test_a_summary_names_model_steps_and_seed() -> None:
    facts = dict.fromkeys(OutputFile.__dataclass_fields__) | {"model": "lowlight", "steps": 2, "seed": 7}
    assert summary_of(OutputFile(**facts)) == "lowlight, 2 steps, seed 7"  # type: ignore[arg-type]
