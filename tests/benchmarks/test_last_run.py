"""The table in benchmarks/README.md has the figures of the committed reports."""

import pytest

from benchmarks.last_run import BEGIN, END, README, ROWS, table, written


def test_the_readme_has_the_figures_of_the_reports() -> None:
    text = README.read_text("utf-8")
    assert written(text) == text, "run: python -m benchmarks.last_run --write"


def test_every_row_has_its_day() -> None:
    rows = table().splitlines()[2:]
    assert 0 < len(rows) <= len(ROWS)
    assert all(row.endswith(" |") and row.rsplit("|", 2)[1].strip().startswith("20") for row in rows)


def test_an_older_table_is_replaced() -> None:
    assert written(f"before {BEGIN}old{END} after") == f"before {BEGIN}{table()}{END} after"


def test_a_readme_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="has no lines"):
        written("no table here")
