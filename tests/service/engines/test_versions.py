"""Versions: new traffic goes to the newest, requests keep theirs, and what nobody holds goes."""

import numpy as np
import pytest

from rddm.model import Golden, Model
from service.engines.versions import ModelVersions
from service.errors import UnknownModel
from tests.models import tiny_spec


def model(version: int, name: str = "tiny", digest: str = "") -> Model:
    return Model(tiny_spec(name), version, digest or str(version), Golden(np.zeros((1, 3, 32, 32), np.float32), 1e-3))


@pytest.fixture
def gone() -> list[str]:
    return []


@pytest.fixture
def versions(gone: list[str]) -> ModelVersions[str]:
    one: ModelVersions[str] = ModelVersions(lambda _, handle: gone.append(handle))
    one.activate(model(1), "first")
    return one


def test_the_old_version_goes_at_once_when_nobody_holds_it(versions: ModelVersions[str], gone: list[str]) -> None:
    versions.activate(model(2), "second")
    assert gone == ["first"]
    assert versions.models()["tiny"].version == 2
    with pytest.raises(UnknownModel, match="version 1 of model 'tiny' is no longer loaded"):
        versions.find(model(1).weights)


def test_the_old_version_goes_when_the_last_request_has_left_it(versions: ModelVersions[str], gone: list[str]) -> None:
    with versions.lease("tiny") as one:
        with versions.lease("tiny"):
            versions.activate(model(2), "second")
        assert gone == []
        assert versions.older("tiny") == [1]
        assert versions.find(one.weights)[1] == "first"
    assert gone == ["first"]
    assert versions.older("tiny") == []


def test_the_same_number_with_other_weights_is_another_version(versions: ModelVersions[str], gone: list[str]) -> None:
    with versions.lease("tiny") as held:
        versions.activate(anew := model(1, digest="changed"), "changed")
        assert versions.find(held.weights)[1] == "first"
        assert versions.find(anew.weights)[1] == "changed"
        assert gone == []
    assert gone == ["first"]
    with pytest.raises(UnknownModel, match="version 1 of model 'tiny' is no longer loaded with the digest 1"):
        versions.find(held.weights)


def test_a_deactivated_model_serves_the_requests_that_hold_it(versions: ModelVersions[str], gone: list[str]) -> None:
    with versions.lease("tiny") as held:
        versions.deactivate("tiny")
        assert versions.models() == {}
        assert versions.find(held.weights)[1] == "first"
    assert gone == ["first"]
    with pytest.raises(UnknownModel, match=r"'tiny' is not loaded; expected one of \[\]"):
        versions.deactivate("tiny")


def test_clearing_lets_go_of_everything(versions: ModelVersions[str], gone: list[str]) -> None:
    lease = versions.lease("tiny")
    lease.__enter__()
    versions.activate(model(1, "other"), "other")
    versions.clear()
    assert sorted(gone) == ["first", "other"]
    lease.__exit__(None, None, None)
    assert sorted(gone) == ["first", "other"]
