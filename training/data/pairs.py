"""Training pairs from disk: read, cut or resized, mirrored and equalised like the authors' loader where that is sane.

What is not repeated of theirs: a flip that is always made, padding cut back by the neighbour's size, pairs by order alone.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from rddm.condition import context
from rddm.image import decode, equalized, to_image
from training.data.file_lists import Listing, check_sizes, matched, to_listing
from training.recipe import FolderData
from training.synthesis.draws import Dice, Pairs

Picture = NDArray[np.uint8]
MULTIPLE = 8
KEPT = 1024
# What Pillow raises for bytes that are no picture, depending on the format and on where they break off.
UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, LookupError, struct.error, Image.DecompressionBombError)


@lru_cache(maxsize=KEPT)
def read(path: Path) -> Picture:
    """An upright RGB picture, h w 3; recently read ones are kept. Raises ValueError, naming the file, where Pillow cannot."""
    data = path.read_bytes()
    try:
        return decode(data)
    except UNREADABLE as error:
        raise ValueError(f"{path} cannot be read as a picture: {error}") from error


@lru_cache(maxsize=KEPT)
def whole_at(path: Path, side: int, equalize: bool) -> NDArray[np.float32]:
    """A picture, its histogram equalised if asked for, averaged by area to 1 3 side side."""
    return context(to_image(equalized(read(path)) if equalize else read(path)), side, side)


def padded(picture: Picture, side: int) -> Picture:
    """Black at the bottom and right until each side is at least `side` and a multiple of 8."""
    height, width = (-(-max(length, side) // MULTIPLE) * MULTIPLE for length in picture.shape[:2])
    return np.pad(picture, ((0, height - picture.shape[0]), (0, width - picture.shape[1]), (0, 0)))


FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def resized(picture: Picture, height: int, width: int, filter: str = "bicubic") -> Picture:
    """By one of Pillow's filters on bytes; the aspect ratio is not kept."""
    return np.asarray(Image.fromarray(picture).resize((width, height), FILTERS[filter]))


def hole(pictures: Tensor) -> Tensor:
    """b 3 h w in [-1, 1] with the centre (half of each side) at 0, mid grey: what inpainting is given."""
    height, width = pictures.shape[2:]
    filled = pictures.clone()
    filled[:, :, height // 4 : height // 4 + height // 2, width // 4 : width // 4 + width // 2] = 0
    return filled


@dataclass(frozen=True)
class Fit:
    """How a group of equal pictures (target, given[, mask]) becomes what the network sees.

    how: `crop` one window of side x side from the padded pictures; `resize` to side x side; `pad` whole pictures to multiples of 8.
    window: (top, left, height, width) cut out before anything else. equalize: the given picture alone. filter: see FILTERS.
    """

    how: str
    side: int
    equalize: bool = False
    window: tuple[int, int, int, int] | None = None
    filter: str = "bicubic"

    def __call__(self, group: Sequence[Picture], corner: tuple[float, float] = (0.0, 0.0), mirror: bool = False) -> list[Picture]:
        """corner: where the crop lies, each 0..1 of the room there is. The same for every picture of the group."""
        pictures = [padded(self._cut(picture), self.side) for picture in group]
        if self.how == "crop":
            pictures = [self._crop(picture, corner) for picture in pictures]
        if self.equalize and len(pictures) > 1:
            pictures[1] = equalized(pictures[1]).astype(np.uint8)
        if mirror:
            pictures = [picture[:, ::-1] for picture in pictures]
        if self.how == "resize":
            pictures = [resized(np.ascontiguousarray(picture), self.side, self.side, self.filter) for picture in pictures]
        return pictures

    def _cut(self, picture: Picture) -> Picture:
        if self.window is None:
            return picture
        top, left, height, width = self.window
        return picture[top : top + height, left : left + width]

    def _crop(self, picture: Picture, corner: tuple[float, float]) -> Picture:
        top, left = (int(share * (length - self.side + 1)) for share, length in zip(corner, picture.shape[:2], strict=True))
        return picture[top : top + self.side, left : left + self.side]


def to_tensor(pictures: Sequence[Picture]) -> Tensor:
    """Pictures of one size -> b 3 h w in [-1, 1]."""
    return torch.from_numpy(np.concatenate([to_image(np.ascontiguousarray(picture)) for picture in pictures]))


class FolderSource:
    """Draws from groups of files: (target,), (target, given) or (target, given, mask)."""

    def __init__(self, data: FolderData, groups: Sequence[tuple[Path, ...]]) -> None:
        self.data, self.groups = data, groups
        self.fit = Fit(data.fit, data.side, data.equalize, data.window, data.filter)

    def draw(self, batch: int, dice: Dice) -> Pairs:
        """`batch` pairs, drawn with replacement; each mirrored with the recipe's chance."""
        rows = [self._one(dice) for _ in range(batch)]
        targets, givens, masks, contexts = zip(*rows, strict=True)
        target = to_tensor(targets).to(dice.device)
        if self.data.hole:
            return Pairs(target, hole(target), hole(target))
        if self.generates:
            return Pairs(target, torch.zeros_like(target))
        given = to_tensor(givens).to(dice.device)
        around = torch.cat([torch.from_numpy(whole) for whole in contexts]).to(dice.device)
        mask = None if masks[0] is None else (to_tensor(masks).to(dice.device) + 1) / 2
        return Pairs(target, given, around, mask)

    @property
    def generates(self) -> bool:
        """Whether there is nothing given: x_in = 0."""
        return len(self.groups[0]) == 1 and not self.data.hole

    def _one(self, dice: Dice) -> tuple[Picture, Picture, Picture | None, NDArray[np.float32]]:
        """(target, given, mask or None, the whole given picture shrunk to the crop's size)."""
        index, other = dice.integers(0, len(self.groups), 2).tolist()
        group = [read(path) for path in self.groups[index]]
        if self.data.pairing == "random":
            group[1] = read(self.groups[other][1])
        down, across, chance = dice.uniform(0, 1, 3).tolist()
        pictures = self.fit(group, (down, across), chance < self.data.flip)
        given = pictures[min(1, len(pictures) - 1)]
        return (
            pictures[0],
            given,
            pictures[2] if len(pictures) == 3 else None,
            self._around(index, other, given, chance < self.data.flip),
        )

    def _around(self, index: int, other: int, given: Picture, mirror: bool) -> NDArray[np.float32]:
        """The context: of a crop the whole given picture, else the given picture as it is seen."""
        if self.data.fit != "crop":
            return to_image(np.ascontiguousarray(given))
        group = self.groups[other if self.data.pairing == "random" else index]
        whole = whole_at(group[min(1, len(group) - 1)], self.data.side, self.data.equalize)
        return np.ascontiguousarray(whole[..., ::-1]) if mirror else whole


def groups_of(target: str, given: str | None, mask: str | None, pairing: str) -> list[tuple[Path, ...]]:
    """Files that belong together, checked. Raises ValueError or FileNotFoundError naming what does not fit."""
    listings = [to_listing(source) for source in (target, given, mask) if source is not None]
    if pairing == "random":
        return _unpaired(*listings)
    groups = matched(*listings)
    check_sizes(groups)
    return groups


def _unpaired(targets: Listing, givens: Listing) -> list[tuple[Path, ...]]:
    """Every file of the longer listing once; partners are drawn anew each time."""
    count = max(len(targets), len(givens))
    ours, theirs = list(targets.files.values()), list(givens.files.values())
    return [(ours[i % len(ours)], theirs[i % len(theirs)]) for i in range(count)]


def folder_sources(data: FolderData) -> tuple[FolderSource, FolderSource]:
    """(source for training, source for validation): the recipe's own validation files, or every tenth group held out."""
    groups = groups_of(data.target, data.given, data.mask, data.pairing)
    if data.val_target is not None:
        held_out = groups_of(data.val_target, data.val_given, data.val_mask, data.pairing)
        return FolderSource(data, groups), FolderSource(data, held_out)
    if len(groups) < 2:
        raise ValueError(f"{data.target} holds one group; training and validation need one each, or name val_target")
    return FolderSource(data, [group for i, group in enumerate(groups) if i % 10 != 0]), FolderSource(data, groups[::10])
