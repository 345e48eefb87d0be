"""The data of the three tasks, in a folder that is laid out as here or as the data sets come."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.reproduce.arms import PRESET, Size, Task
from training.data.pairs import folder_sources
from training.presets import PRESETS
from training.recipe import Data, EmojiData, FolderData
from training.synthesis.draws import PairSource
from training.synthesis.emoji import emoji_sources

# target and given for training, target and given for measuring; where there is nothing given, one each.
LAYOUTS: dict[Task, tuple[tuple[str, ...], ...]] = {
    "lowlight": (
        ("lowlight/train/target", "lowlight/train/input", "lowlight/val/target", "lowlight/val/input"),
        ("LOLdataset/our485/high", "LOLdataset/our485/low", "LOLdataset/eval15/high", "LOLdataset/eval15/low"),
    ),
    "rain": (
        ("rain/train/target", "rain/train/input", "rain/val/target", "rain/val/input"),
        ("RainDrop/train/gt", "RainDrop/train/data", "RainDrop/test_a/gt", "RainDrop/test_a/data"),
    ),
    "generation": (("celeba/train", "celeba/test"),),
}
RESTORATIONS: tuple[Task, ...] = ("lowlight", "rain")


@dataclass(frozen=True)
class Source:
    """A task's data: what a recipe says of it, pictures to train on, pictures kept for measuring, and what they show."""

    data: Data
    training: PairSource
    held_out: PairSource
    kind: str

    @property
    def side(self) -> int:
        """Pixels of what is trained on."""
        return self.data.size if isinstance(self.data, EmojiData) else self.data.side  # type: ignore[union-attr]


def layout_in(root: Path | None, task: Task) -> tuple[str, ...] | None:
    """The first layout of the task whose folders all exist under root."""
    for layout in LAYOUTS[task] if root is not None else ():
        if all((root / folder).is_dir() for folder in layout):
            return tuple(str(root / folder) for folder in layout)
    return None


def source_of(root: Path | None, task: Task, size: Size, files: str = "") -> Source:
    """The task's data under root; without faces, glyphs are generated. files: a pattern of names, all if empty.

    Raises FileNotFoundError naming the layouts that were looked for.
    """
    layout = layout_in(root, task)
    if task == "generation" and layout is None:
        return Source(EmojiData(kind="emoji", size=size.glyphs), *emoji_sources(size.glyphs), "glyphs")
    if layout is None:
        raise FileNotFoundError(f"{root} holds no data for {task}; expected one of {[list(known) for known in LAYOUTS[task]]}")
    folders = [str(Path(folder) / files) if files else folder for folder in layout]
    data = faces(folders) if task == "generation" else pairs(folders, task, size)
    return Source(data, *folder_sources(data), "faces" if task == "generation" else task)


def faces(folders: list[str]) -> FolderData:
    """CelebA cut and shrunk as the authors do."""
    preset = PRESETS[PRESET["generation"]]
    return FolderData(
        kind="folder",
        target=folders[0],
        val_target=folders[1],
        side=preset.side,
        fit="resize",
        window=preset.window,
        filter=preset.filter,
    )


def pairs(folders: list[str], task: Task, size: Size) -> FolderData:
    """Windows of the pictures, or, with the authors' network, all of them squashed, the histogram equalised where they do."""
    return FolderData(
        kind="folder",
        target=folders[0],
        given=folders[1],
        val_target=folders[2],
        val_given=folders[3],
        side=size.side,
        fit="resize" if size.authors else "crop",
        equalize=size.authors and PRESETS[PRESET[task]].equalize,
    )
