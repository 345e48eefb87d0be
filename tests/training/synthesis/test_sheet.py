"""The contact sheet is written, or its reason is one line."""

from pathlib import Path

import pytest
from PIL import Image

from training.synthesis import sheet


def test_the_sheet_command_writes_a_picture(tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    assert sheet.main(["streaks", "-o", str(out), "--count", "3", "--columns", "2"]) == 0
    with Image.open(out) as picture:
        assert picture.size == (512, 512)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["-o", "sheet.bmpp"], "ends in '.bmpp'; expected .jpg"),
        (["-o", "sheet.png", "--count", "0"], "--count 0: expected at least 1"),
        (["-o", "file/sheet.png", "--count", "1"], "cannot be written"),
    ],
)
def test_a_sheet_that_cannot_be_drawn_is_one_line(
    options: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_bytes(b"")
    with pytest.raises(SystemExit, match="2"):
        sheet.main(["scenes", *options])
    assert expected in capsys.readouterr().err
    assert [*tmp_path.iterdir()] == [tmp_path / "file"]
