"""Versions: new traffic goes to the newest, requests keep theirs, and what nobody holds goes."""

import numpy as np
import pytest

from rddm.model import Golden, Model
from service.engines.shelf import Shelf
from service.errors import UnknownModel
from tests.calls import ticket
from tests.models import tiny_spec


def model(version: int, name: str = "tiny", digest: str = "") -> Model:
    return Model(tiny_spec(name), version, digest or str(version), Golden(np.zeros((1, 3, 32, 32), np.float32), 1e-3))


@pytest.fixture
def gone() -> list[str]:
    return []


@pytest.fixture
def shelf(gone: list[str]) -> Shelf[str]:
    one: Shelf[str] = Shelf(lambda _, handle: gone.append(handle))
    one.put(model(1), "first")
    return one


def test_the_old_version_goes_at_once_when_nobody_holds_it(shelf: Shelf[str], gone: list[str]) -> None:
    shelf.put(model(2), "second")
    assert gone == ["first"]
    assert shelf.models()["tiny"].version == 2
    with pytest.raises(UnknownModel, match="version 1 of model 'tiny' is no longer loaded"):
        shelf.find(ticket(version=1))


def test_the_old_version_goes_when_the_last_request_has_left_it(shelf: Shelf[str], gone: list[str]) -> None:
    with shelf.lease("tiny") as one:
        with shelf.lease("tiny"):
            shelf.put(model(2), "second")
        assert gone == []
        assert shelf.older("tiny") == [1]
        assert shelf.find(ticket(version=one.version))[1] == "first"
    assert gone == ["first"]
    assert shelf.older("tiny") == []


def test_the_same_number_with_other_weights_is_another_version(shelf: Shelf[str], gone: list[str]) -> None:
    with shelf.lease("tiny"):
        shelf.put(model(1, digest="changed"), "changed")
        assert shelf.find(ticket(version=1))[1] == "changed"
        assert gone == []
    assert gone == ["first"]


def test_a_model_taken_off_serves_who_holds_it(shelf: Shelf[str], gone: list[str]) -> None:
    with shelf.lease("tiny"):
        shelf.take_off("tiny")
        assert shelf.models() == {}
        assert shelf.find(ticket())[1] == "first"
    assert gone == ["first"]
    with pytest.raises(UnknownModel, match=r"'tiny' is not loaded; expected one of \[\]"):
        shelf.take_off("tiny")


def test_clearing_lets_go_of_everything(shelf: Shelf[str], gone: list[str]) -> None:
    lease = shelf.lease("tiny")
    lease.__enter__()
    shelf.put(model(1, "other"), "other")
    shelf.clear()
    assert sorted(gone) == ["first", "other"]
    lease.__exit__(None, None, None)
    assert sorted(gone) == ["first", "other"]
