"""Records as lines, and the index of the latest of every key."""

import json
from dataclasses import replace

import pytest

from service.bulk.records import Record, open_index, parse

RECORD = Record("a/ä.png", "restored", "recipe", "tag", 12.5, target="a/ä.png", width=40, height=24, digest="ab")


def test_a_line_is_read_again_and_holds_only_what_is_known() -> None:
    line = RECORD.to_line()
    assert line.endswith(b"\n")
    assert line.isascii()
    assert parse(line) == RECORD
    assert "problem" not in json.loads(line)


def test_members_of_a_later_version_are_passed_over() -> None:
    assert parse(json.dumps({**json.loads(RECORD.to_line()), "more": 1}).encode()) == RECORD


@pytest.mark.parametrize("line", [b"", RECORD.to_line()[:-9], b"[1]", b'{"key": "x"}', b"\xff", b"7"])
def test_a_line_that_was_cut_short_is_none(line: bytes) -> None:
    assert parse(line) is None


def test_the_latest_record_of_a_key_counts() -> None:
    with open_index() as index:
        index.add(RECORD)
        index.add(replace(RECORD, key="b"))
        index.add(replace(RECORD, status="failed", target=None))
        assert len(index) == 2
        record = index.find(RECORD.key)
        assert record is not None
        assert (record.status, record.target, record.tag, record.recipe) == ("failed", None, "tag", "recipe")
        assert index.find("c") is None
