"""A repository's configuration as text: it is parsed, or refused by its place, and numbers alone are versions."""

import pytest

from rddm.repository import parse_config, version_numbers, versions_of


def test_text_is_parsed_or_refused_with_the_place() -> None:
    assert parse_config('name: "m" max_batch_size: 4').max_batch_size == 4
    with pytest.raises(ValueError, match=r"not a model configuration: 1:6"):
        parse_config("name = 1")


def test_a_model_of_somebody_else_has_no_versions_here() -> None:
    assert versions_of(parse_config('name: "m" parameters { key: "x" value { string_value: "y" } }')) == {}


def test_a_version_without_its_facts_is_refused() -> None:
    with pytest.raises(ValueError, match=r"version 2 has a spec but no \['digest', 'golden', 'tolerance'\]"):
        versions_of(parse_config('name: "m" parameters { key: "spec.2" value { string_value: "{}" } }'))


def test_versions_are_whole_numbers_in_order() -> None:
    assert version_numbers(["10", "2", "README.md", "1.5", "old", "-3"]) == [2, 10]
