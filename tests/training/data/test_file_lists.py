"""Folders, list files and patterns: names pair, and what cannot be paired is named."""

from pathlib import Path

import pytest

from tests.training.data.test_pairs import draw_picture
from training.data.file_lists import check_sizes, matched, to_listing
from training.data.pairs import groups_of


def test_names_pair_and_order_does_not(tmp_path: Path) -> None:
    for name in ("10", "9", "a b#1"):
        draw_picture(tmp_path / "gt" / f"{name}.png")
        draw_picture(tmp_path / "in" / f"{name}.jpg")
    pairs = matched(to_listing(str(tmp_path / "gt")), to_listing(str(tmp_path / "in")))
    assert [(a.stem, b.stem) for a, b in pairs] == [(name, name) for name in ("10", "9", "a b#1")]


@pytest.mark.parametrize(("first", "second"), [("gt_{}", "input_{}"), ("{}_clean", "{}_rain"), ("norain-{}", "rain-{}")])
def test_what_all_names_share_is_left_out(tmp_path: Path, first: str, second: str) -> None:
    for number in ("001", "002", "010"):
        draw_picture(tmp_path / "gt" / f"{first.format(number)}.png")
        draw_picture(tmp_path / "in" / f"{second.format(number)}.png")
    pairs = matched(to_listing(str(tmp_path / "gt")), to_listing(str(tmp_path / "in")))
    assert [(a.stem, b.stem) for a, b in pairs] == [(first.format(n), second.format(n)) for n in ("001", "002", "010")]


def test_numbers_that_differ_are_no_pair(tmp_path: Path) -> None:
    for number in ("10", "11"):
        draw_picture(tmp_path / "gt" / f"gt_{number}.png")
        draw_picture(tmp_path / "in" / f"input_2{number[1]}.png")
    with pytest.raises(ValueError, match=r"4 files have no partner of the same name, such as .*gt_10"):
        matched(to_listing(str(tmp_path / "gt")), to_listing(str(tmp_path / "in")))


def test_one_missing_partner_is_named(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        draw_picture(tmp_path / "gt" / f"{name}.png")
    for name in ("a", "c"):
        draw_picture(tmp_path / "in" / f"{name}.png")
    with pytest.raises(ValueError, match=r"1 files have no partner.*b\.png"):
        groups_of(str(tmp_path / "gt"), str(tmp_path / "in"), None, "name")


def test_list_file_keeps_spaces_and_hashes_and_works_with_one_line(tmp_path: Path) -> None:
    draw_picture(tmp_path / "one #1 of 2.png")
    (tmp_path / "a.flist").write_text("one #1 of 2.png\n")
    assert list(to_listing(str(tmp_path / "a.flist")).files) == ["one #1 of 2"]


def test_list_file_names_what_does_not_exist(tmp_path: Path) -> None:
    (tmp_path / "a.flist").write_text("gone.png\n")
    with pytest.raises(FileNotFoundError, match=r"lists 1 files that do not exist, first \['gone\.png'\]"):
        to_listing(str(tmp_path / "a.flist"))


def test_pattern_names_files_by_what_its_wildcards_match(tmp_path: Path) -> None:
    for scene in ("s1", "s2"):
        for part in ("blur", "sharp"):
            draw_picture(tmp_path / scene / part / "0001.png")
    pairs = matched(*(to_listing(str(tmp_path / "*" / part / "*.png")) for part in ("sharp", "blur")))
    assert [(a.parts[-3:], b.parts[-3:]) for a, b in pairs] == [
        ((s, "sharp", "0001.png"), (s, "blur", "0001.png")) for s in ("s1", "s2")
    ]


def test_pairs_of_different_size_are_refused_before_training(tmp_path: Path) -> None:
    pair = (draw_picture(tmp_path / "a.png", (16, 16)), draw_picture(tmp_path / "b.png", (16, 24)))
    with pytest.raises(ValueError, match=r"1 of 1 pairs cannot be used: .*a\.png is 16x16.*b\.png 16x24"):
        check_sizes([pair])


def test_unreadable_picture_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "a.png"
    broken.write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=r"a\.png"):
        check_sizes([(broken,)])


@pytest.mark.parametrize("source", ["nowhere", "nowhere.flist", "nowhere/*.png"])
def test_missing_source_is_an_error(tmp_path: Path, source: str) -> None:
    with pytest.raises((FileNotFoundError, ValueError), match="nowhere"):
        to_listing(str(tmp_path / source))


@pytest.mark.parametrize(
    ("targets", "givens"),
    [
        (("normal00001", "normal00002", "normal00100"), ("low00001", "low00002", "low00100")),  # LOL-v2 real
        (("1_GT_SRGB_010", "1_GT_SRGB_011", "2_GT_SRGB_010"), ("1_NOISY_SRGB_010", "1_NOISY_SRGB_011", "2_NOISY_SRGB_010")),  # SIDD
        (("1clean", "2clean", "30clean"), ("1haze", "2haze", "30haze")),
        (("s1/GT_1", "s1/GT_2", "t2/GT_1"), ("s1/IN_1", "s1/IN_2", "t2/IN_1")),
    ],
)  # fmt: skip
def test_words_that_all_names_have_are_left_out(tmp_path: Path, targets: tuple[str, ...], givens: tuple[str, ...]) -> None:
    for target, given in zip(targets, givens, strict=True):
        draw_picture(tmp_path / "gt" / f"{target}.png")
        draw_picture(tmp_path / "in" / f"{given}.png")
    pairs = groups_of(str(tmp_path / "gt"), str(tmp_path / "in"), None, "name")
    names = [
        (a.relative_to(tmp_path / "gt").with_suffix("").as_posix(), b.relative_to(tmp_path / "in").with_suffix("").as_posix())
        for a, b in pairs
    ]
    assert names == list(zip(targets, givens, strict=True))


def test_pairs_that_lie_in_one_folder_are_separated_by_patterns(tmp_path: Path) -> None:
    """SIDD: one folder a scene, both pictures in it."""
    for scene in ("0001_001_S6_00100_L", "0002_001_GP_00800_N"):
        for number in ("010", "011"):
            for kind in ("GT", "NOISY"):
                draw_picture(tmp_path / scene / f"{scene[:4]}_{kind}_SRGB_{number}.PNG")
    pairs = groups_of(*(str(tmp_path / "*" / f"*_{kind}_SRGB_*.PNG") for kind in ("GT", "NOISY")), None, "name")
    assert len(pairs) == 4
    assert all(b.name == a.name.replace("GT", "NOISY") and a.parent == b.parent for a, b in pairs)


def test_words_in_another_order_are_no_pair(tmp_path: Path) -> None:
    for name in ("a_b", "b_a"):
        draw_picture(tmp_path / "gt" / f"{name}.png")
    for name in ("c_d", "d_c"):
        draw_picture(tmp_path / "in" / f"{name}.png")
    with pytest.raises(ValueError, match="no partner"):
        groups_of(str(tmp_path / "gt"), str(tmp_path / "in"), None, "name")


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("**/*.png", ["a/gt_1", "gt_0"]),
        ("gt_?.png", ["0"]),
        ("gt_[01].png", ["0"]),
        ("a/*_1.png", ["gt"]),
    ],
)
def test_a_name_is_what_the_wildcards_matched(tmp_path: Path, pattern: str, names: list[str]) -> None:
    for name in ("gt_0.png", "a/gt_1.png"):
        draw_picture(tmp_path / name)
    assert sorted(to_listing(str(tmp_path / pattern)).files) == names
