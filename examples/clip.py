"""Render the example clips of examples/clips: a walk past the garden, dry, in the rain, through a wet pane, and in the dark.

    python examples/garden.py dry.png --rain 0        the dry garden (minutes)
    python examples/clip.py dry.png OUT               truth.mp4, rain.mp4, drops.mp4 and dark.mp4 in the folder OUT (seconds)

The camera pans, comes nearer and rolls a little; posts close before it pass faster than the garden behind them. What is wrong with
a clip is drawn on linear light: rain anew in every frame, as an open shutter sees it; drops that cling to a pane before the
camera; a night, with the sensor's noise. Needs numpy, pillow, and PyAV (the extra `video`).
"""

import argparse
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import garden
import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from raymarch import Floats, to_srgb

WIDTH, HEIGHT, RATE, FRAMES = 384, 216, 24, 36
POSTS = ((60, 9), (330, 12), (560, 8), (860, 11))  # where each stands along the way, and its width, in pixels
PATH_SPEED = 330.0  # pixels that a post moves in the whole clip


def to_linear(srgb: np.ndarray) -> Floats:
    """sRGB bytes -> linear light 0..1 (IEC 61966-2-1)."""
    values = srgb.astype(np.float32) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(np.float32)


def corners(share: float, size: tuple[int, int]) -> list[tuple[float, float]]:
    """Where the frame's corners lie in the still, upper left and on clockwise, after a share 0..1 of the way."""
    width, height = size
    zoom, roll = 1.12 - 0.16 * share, np.deg2rad(1.2 * np.sin(2 * np.pi * share))
    middle = np.array([width * (0.37 + 0.26 * share), height * (0.50 + 0.02 * np.sin(4 * np.pi * share))])
    half = np.array([WIDTH, HEIGHT]) / 2 * zoom
    turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    return [tuple(middle + turn @ (half * np.array(sign))) for sign in ((-1, -1), (1, -1), (1, 1), (-1, 1))]


def perspective(quad: list[tuple[float, float]]) -> list[float]:
    """The eight numbers that Pillow's PERSPECTIVE takes to show `quad` as a whole frame."""
    rows, wanted = [], []
    for (x, y), (u, v) in zip(((0, 0), (WIDTH, 0), (WIDTH, HEIGHT), (0, HEIGHT)), quad, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        wanted += [u, v]
    return [float(value) for value in np.linalg.solve(np.array(rows, float), np.array(wanted))]


def posts(share: float) -> Image.Image:
    """What stands close before the camera, as a mask."""
    mask = Image.new("L", (WIDTH * 4, HEIGHT * 4))
    draw = ImageDraw.Draw(mask)
    for place, width in POSTS:
        left = (place - PATH_SPEED * share) * 4
        draw.rectangle((left, HEIGHT * 1.1, left + width * 4, HEIGHT * 4), fill=255)
    return mask.resize((WIDTH, HEIGHT), Image.Resampling.BOX)


def dry(still: Image.Image) -> Iterator[Floats]:
    """The walk in linear light, frame by frame."""
    wood = np.array([0.10, 0.065, 0.04], np.float32)
    for number in range(FRAMES):
        share = number / (FRAMES - 1)
        quad = perspective(corners(share, still.size))
        view = still.transform((WIDTH, HEIGHT), Image.Transform.PERSPECTIVE, quad, Image.Resampling.BICUBIC)
        covered = np.asarray(posts(share), np.float32)[..., None] / 255
        yield to_linear(np.asarray(view)) * (1 - covered) + wood * covered


def rain(light: Floats, number: int) -> Floats:
    """Streaks that fall anew in every frame, and the veil of the far ones."""
    garden.WIDTH, garden.HEIGHT = WIDTH, HEIGHT
    return garden.wet(light, 0.42, 100 + number)


def drops(light: Floats, _: int) -> Floats:
    """The pane's drops, the same in every frame: each shows the garden small, upside down, out of focus, under the sky's light."""
    draw = np.random.default_rng(4)
    seen = light.copy()
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    soft = to_linear(np.asarray(Image.fromarray(to_srgb(light)).filter(ImageFilter.GaussianBlur(5))))
    for _number in range(46):
        middle, radius = draw.uniform((0, 0), (WIDTH, HEIGHT)), draw.uniform(3, 11)
        away = np.hypot((x - middle[0]), (y - middle[1]) * draw.uniform(0.8, 1.1)) / radius
        cover = np.clip((1 - away) * radius / 2, 0, 1)[..., None] * draw.uniform(0.75, 0.95)
        across = np.clip(middle[0] - 6 * (x - middle[0]), 0, WIDTH - 1).astype(int)
        down = np.clip(middle[1] - 6 * (y - middle[1]), 0, HEIGHT - 1).astype(int)
        lens = 0.75 * soft[down, across] + 0.25 * (0.55 - 0.25 * ((y - middle[1]) / radius)[..., None])
        seen = seen * (1 - cover) + lens * cover
    return seen


def dark(light: Floats, number: int) -> Floats:
    """Five stops less light on a small sensor: photons arrive at random, and reading adds noise."""
    draw = np.random.default_rng(200 + number)
    full_well, read = 9000.0, 1.3
    electrons = light * 2.0**-5 * full_well
    return np.clip((electrons + draw.normal(0, 1, light.shape) * np.sqrt(electrons + read**2)) / full_well, 0, 1).astype(np.float32)


DEGRADED: dict[str, Callable[[Floats, int], Floats]] = {"rain": rain, "drops": drops, "dark": dark}


def write(path: Path, frames: list[np.ndarray], quality: int) -> None:
    """Frames as H.264, tagged BT.709 and converted so."""
    with av.open(str(path), "w", container_options={"fflags": "+bitexact"}) as file:
        stream = file.add_stream("libx264", rate=Fraction(RATE), options={"crf": str(quality), "preset": "slow"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        context = stream.codec_context
        context.colorspace = context.color_trc = context.color_primaries = 1
        context.color_range = 1
        for pixels in frames:
            rgb = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            file.mux(stream.encode(rgb.reformat(format="yuv420p", dst_colorspace=1, dst_color_range=1, src_color_range=2)))
        file.mux(stream.encode())


def main() -> None:
    parser = argparse.ArgumentParser(description="Render the example clips from a picture of the dry garden.")
    parser.add_argument("still", type=Path, help="what `garden.py --rain 0` renders")
    parser.add_argument("out", type=Path, help="folder for truth.mp4, rain.mp4, drops.mp4 and dark.mp4")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    truth = list(dry(Image.open(arguments.still).convert("RGB")))
    write(arguments.out / "truth.mp4", [to_srgb(frame) for frame in truth], 14)
    for name, degrade in DEGRADED.items():
        frames = [to_srgb(degrade(frame, number)) for number, frame in enumerate(truth)]
        write(arguments.out / f"{name}.mp4", frames, 17)


if __name__ == "__main__":
    main()
