"""The error tree as it is drawn is the tree of the classes."""

import re

from service import errors
from service.errors import QueueFull, ServiceError

ROW = re.compile(r"^(?P<bars>[│├└─ ]*)(?P<name>[A-Z]\w+) +(?P<status>\d{3})  \S", re.MULTILINE)


def drawn() -> dict[str, tuple[str | None, int]]:
    """Name -> (parent, status) of the module's docstring."""
    tree: dict[str, tuple[str | None, int]] = {}
    path: list[str] = []
    for row in ROW.finditer(errors.__doc__ or ""):
        depth = len(row["bars"]) // 3
        path = [*path[:depth], row["name"]]
        tree[row["name"]] = (path[-2] if depth else None, int(row["status"]))
    return tree


def classes() -> dict[str, tuple[str | None, int]]:
    tree: dict[str, tuple[str | None, int]] = {ServiceError.__name__: (None, ServiceError.status)}
    waiting = [ServiceError]
    while waiting:
        parent = waiting.pop()
        for child in parent.__subclasses__():
            if child.__module__ == errors.__name__:
                tree[child.__name__] = (parent.__name__, child.status)
                waiting.append(child)
    return tree


def test_the_drawn_tree_is_the_tree() -> None:
    assert drawn() == classes()


def test_every_slug_is_its_own() -> None:
    slugs = [getattr(errors, name).slug for name in classes()]
    assert sorted(set(slugs)) == sorted(slugs)


def test_a_problem_document_tells_when_to_come_back() -> None:
    problem = QueueFull("too much waits", retry_after=2.0).to_problem("r-1")
    assert problem["status"] == 429
    assert problem["retry_after"] == 2.0
    assert problem["request_id"] == "r-1"
    assert problem["type"].endswith(":queue-full")
