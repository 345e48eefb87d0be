"""`rddm synth KIND -o sheet.png`: a contact sheet of what training sees, to be looked at before hours are spent on it.

For pairs each cell shows what is given on the left and what is wanted on the right.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console

from training.pictures import Picture, in_rows, sheet, to_pictures, to_planes
from training.synthesis import drops, outdoors, photographs, scenes, streaks
from training.synthesis.draws import Dice, Pairs
from training.synthesis.pool import RENDERERS
from training.synthesis.registry import DEGRADATIONS

Pictures = list[Picture]
SIDE, CROP, WHOLE = 256, 192, 256
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def pool_of(render: Callable[[int, int], NDArray[np.uint8]], first: int, count: int, side: int = SIDE) -> torch.Tensor:
    """Pictures first..first+count-1 of a kind, (count, c, side, side) uint8."""
    return to_planes([render(first + k, side) for k in range(count)])


def drawn(name: str, count: int, seed: int) -> Pairs:
    """`count` pairs of a kind of the registry, over `count` clean pictures of its pool."""
    kind = DEGRADATIONS[name]
    clean = pool_of(RENDERERS[kind.pool], seed, count)
    maps = None if kind.maps is None else pool_of(RENDERERS[kind.maps], seed, count)
    source = kind.make(clean, maps, CROP, WHOLE)
    return source.draw(count, Dice(torch.Generator().manual_seed(seed)))


def pair_pictures(name: str, count: int, seed: int) -> Pictures:
    """Given and wanted side by side."""
    pairs = drawn(name, count, seed)
    return to_pictures(torch.cat([pairs.given, pairs.target], 3))


def emoji(count: int, seed: int) -> Pictures:
    """Glyphs as the generator sees them."""
    from training.synthesis.emoji import emoji_sources  # noqa: PLC0415 (only this sheet needs the font)

    target = emoji_sources(64)[0].draw(count, Dice(torch.Generator().manual_seed(seed))).target
    return to_pictures(target)


def scene_pictures(render: Callable[[int, int], NDArray[np.uint8]], count: int, seed: int) -> Pictures:
    """Clean pictures, or maps, as they are (of a map its first three channels, or its only one)."""
    return [
        np.broadcast_to(picture[..., :3], (*picture.shape[:2], 3))
        for k in range(count)
        if (picture := render(seed + k, SIDE)) is not None
    ]


SHEETS: dict[str, Callable[[int, int], Pictures]] = {
    "scenes": partial(scene_pictures, scenes.render),
    "outdoors": partial(scene_pictures, outdoors.render),
    "photographs": partial(scene_pictures, photographs.render),
    "streaks": partial(scene_pictures, streaks.render),
    "drops": partial(scene_pictures, drops.render),
    **{name: partial(pair_pictures, name) for name in DEGRADATIONS},
    "emoji": emoji,
}


def main(argv: list[str]) -> int:
    """Draw a contact sheet of synthesised training pictures."""
    p = argparse.ArgumentParser(prog="rddm synth", description="A contact sheet of training pictures, made here; deterministic.")
    p.add_argument("kind", choices=sorted(SHEETS))
    p.add_argument("-o", "--output", type=Path, required=True, help="the picture to write")
    p.add_argument("--count", type=int, default=24, help="how many (default: %(default)s)")
    p.add_argument("--columns", type=int, default=6, help="how many a row (default: %(default)s)")
    p.add_argument("--seed", type=int, default=0)
    args = p.parse_args(argv)
    for name in ("count", "columns"):
        if getattr(args, name) < 1:
            p.error(f"--{name} {getattr(args, name)}: expected at least 1")
    if args.output.suffix.lower() not in SUFFIXES:
        p.error(f"{args.output} ends in {args.output.suffix!r}; expected {', '.join(SUFFIXES)}")
    try:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        with Console().status(f"drawing {args.count} of {args.kind}"):
            pictures = SHEETS[args.kind](args.count, args.seed)
            Image.fromarray(sheet(in_rows(pictures, args.columns))).save(args.output)
    except OSError as error:
        p.error(f"{args.output} cannot be written: {error.strerror or error}")
    return 0
