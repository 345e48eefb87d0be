"""The file of what was learnt: found again by the same engine on the same machine, and never a reason to fail."""

from pathlib import Path

import pytest

from service.scheduling import learned
from service.scheduling.batch import BatchSizes
from service.scheduling.learned import ENTRIES, MOST_ENTRIES, LearnedFile

FOUR = BatchSizes(4, 4 * 64 * 64, fills=True)
ONE = BatchSizes(1, 64 * 64)


def test_what_is_put_is_found_again_by_another_process(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "learned.json"
    LearnedFile(path, "engine 1").put("a", FOUR)
    LearnedFile(path, "engine 1").put("b", ONE)
    again = LearnedFile(path, "engine 1")
    assert (again.get("a"), again.get("b"), again.get("c")) == (FOUR, ONE, None)
    assert [entry.name for entry in path.parent.iterdir()] == ["learned.json"]


def test_another_engine_or_machine_knows_nothing_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "learned.json"
    LearnedFile(path, "engine 1").put("a", FOUR)
    assert LearnedFile(path, "engine 2").get("a") is None
    monkeypatch.setattr(learned, "usable_cores", lambda: 1000)
    assert LearnedFile(path, "engine 1").get("a") is None
    monkeypatch.undo()
    monkeypatch.setattr(learned, "processor", lambda: "another")
    assert LearnedFile(path, "engine 1").get("a") is None


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"format": 1, "entries": {"a": {"largest": 4, "fills": false, "is_settled": true, "seconds_per_megapixel": 1}}}',
        b'{"a": {"rows": "many", "pixels": 300, "fills": false}}',
        b'{"a": {"rows": 4}}',
    ],
)
def test_a_damaged_file_counts_as_none_and_is_written_anew(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "learned.json"
    path.write_bytes(text)
    file = LearnedFile(path, "engine")
    assert file.get("a") is None
    file.put("a", FOUR)
    assert file.get("a") == FOUR


def test_a_folder_that_cannot_be_written_is_no_reason_to_fail(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    file = LearnedFile(tmp_path / "file" / "learned.json", "engine")
    file.put("a", FOUR)
    assert file.get("a") is None
    nowhere = LearnedFile(None, "engine")
    nowhere.put("a", FOUR)
    assert nowhere.get("a") is None


def test_the_file_stays_small(tmp_path: Path) -> None:
    file = LearnedFile(tmp_path / "learned.json", "engine")
    entries = {file._key(str(k)): ONE for k in range(MOST_ENTRIES)}
    (tmp_path / "learned.json").write_bytes(ENTRIES.dump_json(entries))
    file.put("new", FOUR)
    assert (file.get("new"), file.get("0"), file.get("1")) == (FOUR, None, ONE)
