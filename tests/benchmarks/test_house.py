"""The house's figures are counted as its docstring says."""

from pathlib import Path

import pytest

from benchmarks.house import (
    by_room,
    circles,
    code_lines,
    constants_of,
    graph_name_places,
    is_passed_on,
    own_tests,
    spells_graph,
    upward_imports,
)

SOURCE = '''"""A module.

Two lines of it.
"""

LIMIT = 3  # a constant
NAMES = ("a", "b")


def act() -> int:
    """What it does."""
    # why
    return LIMIT
'''


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "module.py"
    path.write_text(SOURCE)
    return path


def test_code_lines_are_neither_blank_nor_comment_nor_docstring(module: Path) -> None:
    assert code_lines(module) == 4


def test_constants_are_names_in_capitals_with_numbers_and_defaults_of_frozen_dataclasses(module: Path) -> None:
    more = '\n\n@dataclass(frozen=True)\nclass Limits:\n    size: int = 1 << 20\n    name: str = "x"\n'
    module.write_text(SOURCE + more + "\n\nclass State:\n    def __init__(self) -> None:\n        self.depth, self.seen = 2, 0\n")
    assert constants_of(module) == ["LIMIT", "Limits.size"]
    module.write_text(
        "class State:\n    def __init__(self) -> None:\n        self.depth = 2\n        self.seen = 0\n        self._k = 3\n"
    )
    assert constants_of(module) == ["depth"]


def test_circles_are_groups_that_reach_one_another() -> None:
    graph = {"p.a": {"p.room.x"}, "p.room.x": {"p.b"}, "p.room.y": set(), "p.b": {"p.room.y"}, "p.c": {"p.a"}}
    assert circles(graph) == []
    assert circles(by_room(graph)) == [["p.b", "p.room"]]


def test_imports_against_the_checkouts_own_layers_are_found(tmp_path: Path) -> None:
    contract = '[[tool.importlinter.contracts]]\ntype = "layers"\ncontainers = ["p"]\nlayers = ["top | side", "low"]\n'
    (tmp_path / "pyproject.toml").write_text(contract)
    graph = {"p.top.x": {"p.low"}, "p.low": {"p.side.y", "q"}, "p.side.y": set(), "q": set()}
    assert upward_imports(tmp_path, graph) == ["p.low -> p.side.y"]


def test_a_graph_name_in_a_docstring_is_no_place(module: Path) -> None:
    module.write_text('"""x_t"""\n')
    assert not spells_graph(module)
    module.write_text('feeds = {"x_t": 1}\n')
    assert spells_graph(module)


def test_this_checkout_spells_the_graphs_names_once_and_tests_most_modules_by_name(root: Path) -> None:
    assert graph_name_places(root) == ["rddm/graph.py"]
    assert own_tests(root)["share"] > 0.5


def test_a_class_that_measures_or_belongs_to_a_file_format_is_no_type() -> None:
    def named(name: str, module: str) -> type:
        return type(name, (), {"__module__": module})

    assert is_passed_on(named("Work", "service.sampling.work"))
    assert not is_passed_on(named("_Exchange", "service.api.middleware"))
    assert not is_passed_on(named("Stopwatch", "service.restoration.service"))
    assert not is_passed_on(named("Filtered", "service.pictures.files.png"))
    assert not is_passed_on(named("Model", "rddm.model"))
