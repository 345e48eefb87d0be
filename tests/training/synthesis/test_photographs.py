"""Photographs come from a folder with an attribution, or from scikit-image."""

from pathlib import Path

import pytest
from PIL import Image

from training.synthesis import photographs


def test_unknown_photograph_is_refused() -> None:
    with pytest.raises(KeyError, match="expected one of"):
        photographs.photograph("lenna")


def collection(folder: Path, count: int = 3) -> photographs.Collection:
    """A folder of photographs, each of one grey, with its attribution."""
    rows = ["\t".join(photographs.COLUMNS)]
    for k in range(count):
        Image.new("RGB", (90, 70), (60 * k + 30,) * 3).save(folder / f"{k}.png")
        rows.append(f"{k}.png\tmade here\tCC0-1.0\tnobody\t90x70")
    (folder / photographs.ATTRIBUTION).write_text("\n".join(rows) + "\n", encoding="utf-8")
    return photographs.Collection.read(folder)


def test_photographs_of_a_folder_come_in_turn(tmp_path: Path) -> None:
    photographs = collection(tmp_path)
    windows = [photographs.render(seed, 64) for seed in range(4)]
    assert [int(window[0, 0, 0]) for window in windows] == [30, 90, 150, 30]
    assert all(window.shape == (64, 64, 3) for window in windows)
    assert photographs.render(0, 128).shape == (128, 128, 3)


@pytest.mark.parametrize(
    ("listed", "complaint"),
    [
        (None, "is missing; photographs are used only with"),
        ("file\tsource\tlicence\n0.png\there\t \n", "gives no licence for '0.png'"),
        ("file\tsource\tlicence\n9.png\there\tCC0-1.0\n", "lists '9.png', which is not in"),
        ("file\tsource\tlicence\n", "lists no photograph"),
    ],
)
def test_photographs_without_attribution_are_refused(tmp_path: Path, listed: str | None, complaint: str) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "0.png")
    if listed is not None:
        (tmp_path / photographs.ATTRIBUTION).write_text(listed, encoding="utf-8")
    with pytest.raises((FileNotFoundError, ValueError), match=complaint):
        photographs.Collection.read(tmp_path)
