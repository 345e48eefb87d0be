"""Folders: listed whole, written whole."""

import errno
import os
import sys
from pathlib import Path

import pytest

from service.bulk.folder import Folder
from service.bulk.locations import open_store
from service.bulk.stores import AlreadyThere, StoreError


async def test_links_and_unreadable_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.png").write_bytes(b"x")
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    (tmp_path / "nowhere.png").symlink_to(tmp_path / "gone.png")
    os.mkfifo(tmp_path / "pipe")
    entries = {entry.key: entry.problem async for entry in Folder(str(tmp_path)).entries()}
    assert entries["real/a.png"] is None
    assert "link to a folder" in str(entries["linked"])
    assert "cannot be read" in str(entries["nowhere.png"])
    assert "neither" in str(entries["pipe"])


@pytest.mark.skipif(sys.platform != "linux", reason="names of other systems are Unicode")
async def test_names_that_records_cannot_hold_are_named_and_left_alone(tmp_path: Path) -> None:
    latin = tmp_path / os.fsdecode(b"of 1998\xe4")
    latin.mkdir()
    (latin / "a.png").write_bytes(b"x")
    (tmp_path / "b.png").write_bytes(b"x")
    entries = {entry.key: entry.problem async for entry in Folder(str(tmp_path)).entries()}
    assert entries == {"b.png": None, "of 1998\\udce4/a.png": "the name is no UTF-8; expected another name"}


def test_an_empty_name_is_not_the_current_folder() -> None:
    for may_create in (False, True):
        with pytest.raises(StoreError, match="'' is no path; expected the name of a folder"):
            Folder("", may_create=may_create)


async def test_records_and_parts_are_no_entries(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    await folder.append("records-0", b"{}\n")
    (tmp_path / ".rddm-12.part").write_bytes(b"half")
    assert [entry async for entry in folder.entries()] == []


async def test_a_name_that_is_taken_is_not_taken_again(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    await folder.write("a/b.png", b"one", {})
    with pytest.raises(AlreadyThere):
        await folder.write("a/b.png", b"two", {})
    assert await folder.read("a/b.png") == b"one"
    await folder.write("a/b.png", b"two", {}, replace=True)
    assert await folder.read("a/b.png", 2) == b"tw"
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["b.png"]


async def test_a_line_cut_by_a_kill_stays_one_line(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    await folder.append("records-0", b'{"key": "a"}\n{"key": "b')
    await folder.append("records-0", b'{"key": "c"}\n')
    assert [line async for line in folder.logs("records-")] == [b'{"key": "a"}\n', b'{"key": "b\n', b'{"key": "c"}\n']


@pytest.mark.parametrize("key", ["../out.png", "/etc/passwd", "a/../../b"])
async def test_no_key_leads_out_of_the_folder(tmp_path: Path, key: str) -> None:
    with pytest.raises(StoreError, match="leads out"):
        await Folder(str(tmp_path)).read(key)


@pytest.mark.parametrize(("location", "words"), [("missing-folder", "no folder"), ("ftp://host/x", "scheme 'ftp'")])
def test_what_is_no_store_is_refused_in_words(location: str, words: str) -> None:
    with pytest.raises(StoreError, match=words):
        open_store(location)


async def test_a_file_system_that_is_read_only_ends_the_run_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "write_bytes", refused)
    monkeypatch.setattr(Path, "unlink", refused)
    with pytest.raises(StoreError, match=r"a.png cannot be written: Read-only file system") as error:
        await Folder(str(tmp_path)).write("a.png", b"one", {})
    assert error.value.fatal


async def test_a_folder_whose_name_a_file_has_is_named(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    await folder.write("a.png", b"one", {})
    with pytest.raises(StoreError, match=r"a.png/b.png cannot be written: .*a.png is a file") as error:
        await folder.write("a.png/b.png", b"two", {})
    assert not error.value.fatal
    with pytest.raises(StoreError, match=r"b.png cannot be written: Not a directory"):
        await folder.write("a.png/below/b.png", b"two", {})
    assert await folder.read("a.png") == b"one"
