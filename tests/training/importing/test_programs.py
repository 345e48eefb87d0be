"""Files that are no programs of torch.export are refused by their name."""

from pathlib import Path
from zipfile import ZipFile

import pytest

from training.importing.programs import to_onnx


@pytest.mark.parametrize("data", [b"", b"words", b"PK\x03\x04broken"])
def test_what_is_no_program_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "model.pt2"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"model\.pt2 is no torch\.export program: "):
        to_onnx(path)


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    with ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "words")
    with pytest.raises(ValueError, match=r"is no torch\.export program"):
        to_onnx(path)
