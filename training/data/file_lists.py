"""Which files belong together: folders, list files and glob patterns, matched by name and checked before anything is trained."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"})
LISTS = frozenset({".flist", ".txt", ".lst"})
SEPARATORS = "_-. /"
SHOWN = 5
WORD = re.compile(r"\d+|[^\d_\-. /]+")


@dataclass(frozen=True)
class Listing:
    """Files by the name that pairs them, sorted by it."""

    files: dict[str, Path]

    def __len__(self) -> int:
        return len(self.files)


def to_listing(source: str) -> Listing:
    """The pictures that a folder (searched through), a list file (one path a line) or a glob pattern names.

    A file's name is its path below the folder without suffix; of a pattern, the parts that the wildcards matched; of a list, its
    stem. Raises FileNotFoundError naming what is missing, ValueError for a source without pictures or with one name twice.
    """
    path = Path(source)
    if any(mark in source for mark in "*?["):
        named = _of_glob(source)
    elif path.suffix.lower() in LISTS:
        named = [(file.stem, file) for file in _of_list(path)]
    elif path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
        named = [(file.relative_to(path).with_suffix("").as_posix(), file) for file in files]
    else:
        raise FileNotFoundError(f"{source} is no folder, list file ({', '.join(sorted(LISTS))}) or glob pattern that exists")
    return _checked(source, named)


def _checked(source: str, named: Sequence[tuple[str, Path]]) -> Listing:
    if not named:
        raise ValueError(f"{source} holds no picture ({', '.join(sorted(SUFFIXES))})")
    files: dict[str, Path] = {}
    for name, file in sorted(named):
        if name in files:
            raise ValueError(f"{source} has the name {name!r} twice: {files[name]} and {file}")
        files[name] = file
    return Listing(files)


def _of_list(path: Path) -> list[Path]:
    """One path a line, spaces and # included; relative ones from the list's own folder, or from here."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    files = [beside if (beside := path.parent / line).is_file() else Path(line) for line in lines]
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        raise FileNotFoundError(f"{path} lists {len(missing)} files that do not exist, first {missing[:SHOWN]}")
    return files


def _of_glob(pattern: str) -> list[tuple[str, Path]]:
    """Files that match, named by what the wildcards matched: `*/*_GT_*.png` and `*/*_NOISY_*.png` name SIDD's alike."""
    parts = Path(pattern).parts
    fixed = next(i for i, part in enumerate(parts) if any(mark in part for mark in "*?["))
    root, below = Path(*parts[:fixed]) if fixed else Path(), Path(*parts[fixed:])
    files = sorted(file for file in root.glob(str(below)) if file.suffix.lower() in SUFFIXES)
    matched_by = re.compile("".join(_expression(part) for part in WILDCARD.split(below.as_posix())), re.IGNORECASE)
    return [(_wild(matched_by, file.relative_to(root).as_posix()), file) for file in files]


WILDCARD = re.compile(r"(\*\*/|\*\*|\*|\?|\[!?[^]]*\])")
EXPRESSIONS = {"**/": r"(?:(.*)/)?", "**": "(.*)", "*": "([^/]*)", "?": "([^/])"}


def _expression(part: str) -> str:
    """A piece of a glob pattern as a regular expression, its wildcards as groups."""
    if part.startswith("[") and part.endswith("]") and len(part) > 2:
        return f"([{part[1:-1].replace('!', '^', 1) if part[1] == '!' else part[1:-1]}])"
    return EXPRESSIONS.get(part, re.escape(part))


def _wild(matched_by: re.Pattern[str], path: str) -> str:
    """What the wildcards matched of a path, without suffix."""
    matching = matched_by.fullmatch(path)
    name = "/".join(group for group in matching.groups() if group is not None) if matching else path
    return name.removesuffix(Path(path).suffix)


def _core(names: Iterable[str]) -> dict[str, str]:
    """Each name without what all share at either end, cut only at separators: gt_0, gt_1 -> 0, 1."""
    known = list(names)
    if len(known) == 1:
        return {"": known[0]}
    prefix = os.path.commonprefix(known)  # noqa: RUF071 (characters are meant)
    prefix = prefix[: max((prefix.rfind(mark) for mark in SEPARATORS), default=-1) + 1]
    suffix = os.path.commonprefix([name[::-1] for name in known])[::-1]  # noqa: RUF071
    starts = [place for mark in SEPARATORS if (place := suffix.find(mark)) >= 0]
    suffix = suffix[min(starts) :] if starts else ""
    return {name[len(prefix) : len(name) - len(suffix)]: name for name in known}


def _words(names: Iterable[str]) -> dict[str, str]:
    """Each name as its numbers and words, without the words that every name has: normal00001 -> 00001.

    Empty where two names would then be one.
    """
    known = list(names)
    words = {name: WORD.findall(name) for name in known}
    shared = {word for word in words[known[0]] if not word.isdigit() and all(word in others for others in words.values())}
    keys = {" ".join(word for word in words[name] if word not in shared): name for name in known}
    return keys if len(keys) == len(known) else {}


def matched(*listings: Listing) -> list[tuple[Path, ...]]:
    """The files of equal name in every listing, sorted by name.

    Where names differ, what all names of one listing share at an end is left out (gt_7 and input_7 are a pair), and then
    the words that all of them have (low007 and normal007, 1_GT_7 and 1_NOISY_7). Raises ValueError naming files without a partner:
    order never pairs.
    """
    keys: list[dict[str, str]] = [{name: name for name in listing.files} for listing in listings]
    for shortened in (_core, _words):
        if any(set(key) != set(keys[0]) for key in keys):
            keys = [shortened(listing.files) or key for listing, key in zip(listings, keys, strict=True)]
    for i, key in enumerate(keys[1:], start=1):
        alone = sorted(set(key) ^ set(keys[0]))
        if alone:
            of_first = [str(listings[0].files[keys[0][name]]) for name in alone if name in keys[0]]
            of_other = [str(listings[i].files[key[name]]) for name in alone if name in key]
            raise ValueError(f"{len(alone)} files have no partner of the same name, such as {(of_first + of_other)[:SHOWN]}")
    return [tuple(listing.files[key[name]] for listing, key in zip(listings, keys, strict=True)) for name in sorted(keys[0])]


def check_sizes(groups: Sequence[tuple[Path, ...]]) -> None:
    """Read every header. Raises ValueError naming pictures that cannot be read, or pairs of different size."""
    problems = [problem for group in groups if (problem := _problem(group))]
    if problems:
        raise ValueError(f"{len(problems)} of {len(groups)} pairs cannot be used: {'; '.join(problems[:SHOWN])}")


def _problem(group: tuple[Path, ...]) -> str | None:
    sizes = []
    for file in group:
        try:
            with Image.open(file) as picture:
                sizes.append(picture.size)
        except (OSError, UnidentifiedImageError) as error:
            return f"{file}: {error}"
    if len(set(sizes)) > 1:
        return f"{group[0]} is {sizes[0][0]}x{sizes[0][1]}, " + ", ".join(
            f"{file} {width}x{height}" for file, (width, height) in zip(group[1:], sizes[1:], strict=True)
        )
    return None
