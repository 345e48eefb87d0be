"""The round trips through every pair of formats: a thin sample of them, and that what is lost is seen."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("pyvips")
pytest.importorskip("pillow_jxl")
pytest.importorskip("pi_heif")

from benchmarks import round_trips
from service.pictures.formats import ALL_FORMATS, FORMATS


@pytest.fixture(scope="module")
def given_files() -> list[round_trips.Given]:
    """All of them, which takes four CPU seconds: not while tests are collected, and once."""
    return list(round_trips.given_files())


def test_a_thin_sample_loses_nothing(given_files: list[round_trips.Given], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(round_trips, "given_files", lambda: given_files)
    report = round_trips.matrix(thin=97)
    assert report["failures"] == []
    assert report["combinations"] >= 40


def test_phones_files_are_of_every_depth_colour_and_orientation() -> None:
    facts = [tuple(name.split(", ")) for name in round_trips.phone_files()]
    turned = {f"orientation {one}" for one in range(1, 9)}
    for format_, depths in (("jxl", {"8 bits", "16 bits"}), ("heic", {"8 bits", "12 bits"})):
        mine = [one for one in facts if one[0] == format_]
        assert {one[1] for one in mine} == depths
        assert {one[2] for one in mine} >= {"sRGB", "P3 by ICC", "Adobe RGB by ICC", "P3 by CICP", "grey"}
        assert all({one[3] for one in mine if one[1] == depth and one[2] == "sRGB"} == turned for depth in depths)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jxl, 16 bits, P3 by ICC", "jxl, 16 bits, linear by gAMA", "heic, 12 bits, P3 by CICP"])
def test_deep_files_of_phones_keep_colours_depth_and_orientation(
    given_files: list[round_trips.Given], kind: str, orientation: int
) -> None:
    given = next(one for one in given_files if one.name == f"{kind}, orientation {orientation}, alpha")
    assert given.deep
    assert [words for name in ("png", "jxl") for words in round_trips.problems(given, FORMATS[name])] == []


def test_what_is_lost_is_seen(given_files: list[round_trips.Given]) -> None:
    given = next(file for file in given_files if "16 bits" in file.facts and "P3 by ICC" in file.facts)
    assert round_trips.problems(given, FORMATS["png"]) == []
    assert "colours" in round_trips.problems(replace(given, shows=given.shows + 5), FORMATS["png"])[0]
    turned = replace(given, shows=given.shows[::-1])
    assert "colours" in round_trips.problems(turned, FORMATS["tiff"])[0]
    assert round_trips.problems(replace(given, clear=round_trips.CLEAR), FORMATS["png"]) == ["transparency is gone"]


def test_the_committed_report_is_whole_and_lost_nothing() -> None:
    report = json.loads(Path(round_trips.__file__).parent.joinpath("results", "round-trips.json").read_text("utf-8"))
    assert (report["failed"], report["failures"]) == (0, [])
    assert {name.split(" -> ")[0] for name in report["by_formats"]} == set(ALL_FORMATS)
    assert {name.split(" -> ")[1] for name in report["by_formats"]} == set(FORMATS)
    assert report["combinations"] == sum(report["by_formats"].values()) >= 4500
