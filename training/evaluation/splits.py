"""Which pictures choose weights and which report what they are worth (docs/models/splits.toml), and a log of each report.

A figure that chose something flatters it. A model is stopped, averaged and tuned on the `choose` part of a set alone;
its card and README give the `report` part's figure, and every use of that part is a line of report-uses.tsv beside the
file, with its reason.
"""

import csv
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from pydantic import TypeAdapter, ValidationError

from rddm.spec import Frozen
from training.recipe import complaints

Part = Literal["choose", "report"]
PARTS: tuple[Part, ...] = get_args(Part)
USES = "report-uses.tsv"
COLUMNS = ("date", "model", "set", "pictures", "reason", "mean")


class PictureSet(Frozen):
    """One kind of pictures. choose, report: names without suffix by folder, which is relative to the data's root.

    A folder holds input/, target/ and perhaps mask/, or, without them, pictures that are to come back as they are.
    """

    task: str
    note: str
    choose: Mapping[str, tuple[str, ...]] = {}
    report: Mapping[str, tuple[str, ...]] = {}

    def groups(self, part: Part, root: Path) -> list[tuple[Path, ...]]:
        """(target, input[, mask]) files of a part. Raises FileNotFoundError for a picture that is not there."""
        folders: Mapping[str, tuple[str, ...]] = getattr(self, part)
        return [_group(root / folder, name) for folder, names in folders.items() for name in names]


def load_splits(path: Path) -> dict[str, PictureSet]:
    """The sets of a TOML file by name. Raises ValueError naming the file for what does not fit, or for a picture in both parts."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        sets = TypeAdapter(dict[str, PictureSet]).validate_python(content)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no TOML: {error}") from error
    except ValidationError as error:
        raise ValueError("\n  ".join([f"{path} is no list of splits:", *complaints(error)])) from error
    for name, pictures in sets.items():
        shared = _files(pictures.choose) & _files(pictures.report)
        if shared:
            raise ValueError(f"{path}: set {name!r} has {sorted(shared)[0]} in choose and in report; expected in one of them")
    return sets


def chosen_set(path: Path, name: str) -> PictureSet:
    """One set of a file. Raises ValueError, with the list, for an unknown name."""
    sets = load_splits(path)
    if name not in sets:
        raise ValueError(f"{path} has no set {name!r}; expected one of {sorted(sets)}")
    return sets[name]


def note_use(splits: Path, model: str, pictures: str, count: int, reason: str, mean: Mapping[str, float]) -> None:
    """Append a use of a report part to the log beside the splits; model and reason in the caller's words."""
    path = splits.parent / USES
    fresh = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        if fresh:
            writer.writerow(COLUMNS)
        shown = " ".join(f"{name} {mean[name]:.3f}" for name in ("psnr_rgb", "ssim_rgb", "psnr_mean_matched") if name in mean)
        writer.writerow([datetime.now(UTC).date().isoformat(), model, pictures, count, " ".join(reason.split()), shown])


def _files(part: Mapping[str, tuple[str, ...]]) -> set[str]:
    return {f"{folder}/{name}" for folder, names in part.items() for name in names}


def _group(folder: Path, name: str) -> tuple[Path, ...]:
    if not (folder / "target").is_dir():
        return (_file(folder, name),) * 2
    parts = ("target", "input") + (("mask",) if (folder / "mask").is_dir() else ())
    return tuple(_file(folder / part, name) for part in parts)


def _file(folder: Path, name: str) -> Path:
    matching = sorted(path for path in folder.glob("*") if path.stem == name)
    if len(matching) != 1:
        raise FileNotFoundError(f"{folder} holds {len(matching)} files named {name!r}; expected one")
    return matching[0]
