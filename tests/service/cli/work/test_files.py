"""Names, formats, folders, and files that are written whole or not at all."""

import re
from pathlib import Path

import pytest

from service.cli.verb import Refused
from service.cli.work.files import SUFFIX_OF, SUFFIXES, format_in, format_of, is_folder, sort_folder, write_whole
from service.errors import UnsupportedMedia
from tests.service.conftest import file_of, pixels_of

PNG = file_of(pixels_of(4, 4))


@pytest.mark.parametrize(
    ("output", "format_", "meant"),
    [
        ("x.png", None, "png"),
        ("x.JPG", None, "jpeg"),
        ("x.webp", "webp", "webp"),
        ("x.JPE", "jpeg", "jpeg"),
        ("x.of-mine", "webp", "webp"),
        (None, None, None),
        ("x", None, None),
        ("x/", None, None),
    ],
)
def test_a_name_or_the_option_asks_for_a_format(output: str | None, format_: str | None, meant: str | None) -> None:
    assert format_of(output, format_) == meant


def test_a_name_of_another_kind_is_refused_with_the_list() -> None:
    with pytest.raises(Refused, match=re.escape("x.gif ends in '.gif'; expected .png, .jpg")):
        format_of("x.gif", None)


def test_a_name_and_an_option_that_differ_are_refused() -> None:
    with pytest.raises(Refused, match=re.escape("--format webp and x.png differ; expected one of them, or the same")):
        format_of("x.png", "webp")


def test_every_format_has_a_suffix_that_leads_back_to_it() -> None:
    assert all(SUFFIXES[suffix] == name for name, suffix in SUFFIX_OF.items())


def test_a_folder_is_recognised_by_its_end_or_by_being_there(tmp_path: Path) -> None:
    assert is_folder("new/")
    assert is_folder(str(tmp_path))
    assert not is_folder(str(tmp_path / "new"))


def test_a_format_is_recognised_by_content(tmp_path: Path) -> None:
    picture, text = tmp_path / "x.jpg", tmp_path / "text.png"
    picture.write_bytes(PNG)
    text.write_bytes(b"words")
    assert format_in(picture).name == "png"
    with pytest.raises(UnsupportedMedia, match=re.escape(f"{text}: a file of an unknown kind")):
        format_in(text)


def test_a_folder_is_sorted_into_pictures_and_what_is_left_out(tmp_path: Path) -> None:
    below = tmp_path / "below"
    below.mkdir()
    (tmp_path / "results").mkdir()
    for place in (tmp_path / "b.png", below / "a", tmp_path / "results" / "c.png", tmp_path / ".hidden.png"):
        place.write_bytes(PNG)
    (tmp_path / "notes.txt").write_bytes(b"words")
    (tmp_path / "clip.mp4").write_bytes(b"clip")
    (tmp_path / "ring").symlink_to(tmp_path)
    pictures, others = sort_folder(tmp_path, (tmp_path / "results").resolve())
    assert pictures == [tmp_path / "b.png", below / "a"]
    assert [other.partition(": ")[2][:20] for other in others] == [
        "a clip is restored b",
        "a file of an unknown",
        "a link to a folder i",
    ]


def test_a_file_is_written_whole_with_its_time_and_mode(tmp_path: Path) -> None:
    target = tmp_path / "new" / "x.png"
    write_whole(target, b"first")
    target.chmod(0o600)
    write_whole(target, b"second", modified_ns=10**18)
    assert target.read_bytes() == b"second"
    assert (target.stat().st_mtime_ns, target.stat().st_mode & 0o777) == (10**18, 0o600)
    assert list(target.parent.iterdir()) == [target]


def test_what_was_there_stays_where_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "x.png"
    target.write_bytes(b"before")

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="no space"):
        write_whole(target, b"after")
    assert target.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [target]


def test_a_target_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"words")
    for target, reason in (("file/x.png", "is no folder"), ("file/below/x.png", "not a directory"), (".", "is a directory")):
        with pytest.raises(OSError, match=f"^{re.escape(str(tmp_path / target))} cannot be written: .*{reason}$"):
            write_whole(tmp_path / target, b"picture")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real.png", tmp_path / "link.png"
    real.write_bytes(b"before")
    link.symlink_to(real)
    write_whole(link, b"after")
    assert link.is_symlink()
    assert real.read_bytes() == b"after"
