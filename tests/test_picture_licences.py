"""Every picture of the repository is named in docs/pictures.toml with a licence that lets it be here."""

import subprocess
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from PIL import Image, UnidentifiedImageError

MANIFEST = Path("docs/pictures.toml")
FREE = {"Apache-2.0", "CC-BY-2.0", "CC-BY-4.0", "CC0-1.0", "OFL-1.1"}
SUFFIXES = {".avif", ".bmp", ".gif", ".heic", ".ico", ".jpeg", ".jpg", ".jxl", ".png", ".svg", ".tif", ".tiff", ".webp"}


def files_of(root: Path) -> list[Path]:
    """Files that git tracks or would add, from the root."""
    if not (root / ".git").exists():
        pytest.skip("no git checkout: nothing tells the repository's files from others")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    return [Path(name) for name in listed.split("\0") if name and (root / name).is_file()]


def is_picture(path: Path) -> bool:
    """By its name, or by its first bytes whatever the name."""
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        with Image.open(path):
            return True
    except (UnidentifiedImageError, OSError, SyntaxError):
        return False


def test_every_picture_has_a_free_licence_in_the_manifest(root: Path) -> None:
    entries = tomllib.loads((root / MANIFEST).read_text())["pictures"]
    patterns = [pattern for entry in entries for pattern in entry["files"]]
    pictures = [path.as_posix() for path in files_of(root) if is_picture(root / path)]
    assert len(pictures) > 40
    unnamed = [path for path in pictures if not any(fnmatchcase(path, pattern) for pattern in patterns)]
    assert not unnamed, f"name them in {MANIFEST} with their licence, or remove them"
    unused = [pattern for pattern in patterns if not any(fnmatchcase(path, pattern) for path in pictures)]
    assert not unused, f"patterns of {MANIFEST} that name no picture"


def test_every_entry_says_licence_author_and_source(root: Path) -> None:
    for entry in tomllib.loads((root / MANIFEST).read_text())["pictures"]:
        assert set(entry) == {"files", "licence", "author", "source"}
        assert entry["licence"] in FREE, entry["files"]
        assert entry["author"]
        assert entry["source"]


def test_a_picture_is_known_by_its_bytes_too(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "hidden.dat", "PNG")
    (tmp_path / "notes.txt").write_text("no picture")
    assert is_picture(tmp_path / "hidden.dat")
    assert not is_picture(tmp_path / "notes.txt")
