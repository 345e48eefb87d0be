"""A repository's facts: others' models have no versions, a version without its facts is refused, numbers alone are versions."""

import pytest

from rddm.repository import Configuration, version_numbers, versions_of


def test_a_model_of_somebody_else_has_no_versions_here() -> None:
    assert versions_of(Configuration("m", "onnxruntime", "model.onnx", {"x": "y"})) == {}


def test_a_version_without_its_facts_is_refused() -> None:
    with pytest.raises(ValueError, match=r"version 2 has a spec but no \['digest', 'golden', 'tolerance'\]"):
        versions_of(Configuration("m", "onnxruntime", "model.onnx", {"spec.2": "{}"}))


def test_versions_are_whole_numbers_in_order() -> None:
    assert version_numbers(["10", "2", "README.md", "1.5", "old", "-3"]) == [2, 10]
