"""A small ray marcher: scenes of signed distances and reflectances, lit by one lamp and the sky, in linear light.

It renders the pictures that the web page offers to try, so that they are nobody's photographs. Needs numpy only.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Distance = Callable[[Floats], Floats]
Colour = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Thing:
    """A surface: its signed distance from points (n 3), and its reflectance there, linear RGB (n 3)."""

    distance: Distance
    colour: Colour
    gloss: float = 0.0


@dataclass(frozen=True)
class View:
    """Where one looks from and to, and the light.

    focal: with half the picture's height as 1. lamp: where it is; its light falls off with the square of the distance.
    backdrop: the light along a ray that meets nothing within `far`.
    """

    eye: Floats
    target: Floats
    focal: float
    lamp: Floats
    lamp_power: float
    lamp_colour: Floats
    sky_colour: Floats
    sky_power: float = 0.30
    backdrop: Colour | None = None
    far: float = 12.0


def length(v: Floats) -> Floats:
    return np.sqrt((v * v).sum(-1))


def unit(v: Floats) -> Floats:
    return v / np.maximum(length(v), 1e-6)[..., None]


def at(x: float, y: float, z: float) -> Floats:
    return np.array([x, y, z], np.float32)


def plain(red: float, green: float, blue: float) -> Colour:
    return lambda p: np.broadcast_to(np.array([red, green, blue], np.float32), p.shape)


def mix(a: tuple[float, float, float], b: tuple[float, float, float], amount: Floats) -> Floats:
    """Reflectance a where amount is 0, b where it is 1."""
    share = np.clip(amount, 0, 1)[..., None].astype(np.float32)
    return np.array(a, np.float32) * (1 - share) + np.array(b, np.float32) * share


def hashed(cells: Floats) -> Floats:
    """A number in 0..1 for every integer cell (n 2)."""
    value = np.sin(cells[..., 0] * 127.1 + cells[..., 1] * 311.7).astype(np.float64) * 43758.5453
    return (value - np.floor(value)).astype(np.float32)


def value_noise(uv: Floats) -> Floats:
    """Smooth noise in 0..1 with one cell per unit."""
    cell, inside = np.floor(uv), uv - np.floor(uv)
    s = inside * inside * (3 - 2 * inside)
    corner = [hashed(cell + np.array(offset, np.float32)) for offset in ((0, 0), (1, 0), (0, 1), (1, 1))]
    low = corner[0] * (1 - s[..., 0]) + corner[1] * s[..., 0]
    high = corner[2] * (1 - s[..., 0]) + corner[3] * s[..., 0]
    return low * (1 - s[..., 1]) + high * s[..., 1]


def sphere(centre: Floats, radius: float, squash: Floats | None = None) -> Distance:
    scale = at(1, 1, 1) if squash is None else squash
    return lambda p: (length((p - centre) / scale) - radius) * float(scale.min())


def box(centre: Floats, half: Floats, turn: float = 0.0, round_: float = 0.02) -> Distance:
    """A rounded box turned about the vertical by `turn` radians."""
    c, s = np.float32(np.cos(turn)), np.float32(np.sin(turn))

    def distance(p: Floats) -> Floats:
        q = p - centre
        q = np.abs(np.stack([c * q[..., 0] - s * q[..., 2], q[..., 1], s * q[..., 0] + c * q[..., 2]], -1)) - (half - round_)
        return length(np.maximum(q, 0)) + np.minimum(q.max(-1), 0) - round_

    return distance


def capsule(a: Floats, b: Floats, radius: float) -> Distance:
    def distance(p: Floats) -> Floats:
        share = np.clip(((p - a) @ (b - a)) / ((b - a) @ (b - a)), 0, 1)[..., None]
        return length(p - a - share * (b - a)) - radius

    return distance


def turned(axis: tuple[float, float], profile: Callable[[Floats], Floats], low: float, high: float) -> Distance:
    """A body of revolution about the vertical through `axis` (x, z); profile: height -> radius."""

    def distance(p: Floats) -> Floats:
        radius = np.hypot(p[..., 0] - axis[0], p[..., 2] - axis[1])
        side = (radius - profile(np.clip(p[..., 1], low, high))) * 0.62
        return np.maximum(side, np.maximum(low - p[..., 1], p[..., 1] - high))

    return distance


def nearest(parts: list[Distance]) -> Distance:
    return lambda p: np.minimum.reduce([part(p) for part in parts])


def march(things: list[Thing], origin: Floats, ray: Floats, far: float) -> Floats:
    """How far along each ray the first surface lies, (n,); `far` where there is none."""
    depth = np.zeros(len(ray), np.float32)
    active = np.arange(len(ray))
    whole = nearest([thing.distance for thing in things])
    for _ in range(110):
        step = whole(origin[active] + depth[active, None] * ray[active])
        depth[active] += step * 0.9
        active = active[(step > 4e-4) & (depth[active] < far)]
        if not len(active):
            break
    return np.minimum(depth, far)


def normals(whole: Distance, p: Floats) -> Floats:
    nudge = np.float32(1.5e-3)
    axes = np.eye(3, dtype=np.float32) * nudge
    return unit(np.stack([whole(p + axis) - whole(p - axis) for axis in axes], -1))


def lamplight(whole: Distance, p: Floats, to_lamp: Floats, reach: Floats) -> Floats:
    """How much of the lamp each point sees, 0..1: a soft shadow from how close the ray passes by other things."""
    seen, along = np.ones(len(p), np.float32), np.full(len(p), 0.02, np.float32)
    for _ in range(48):
        gap = whole(p + along[:, None] * to_lamp)
        seen = np.minimum(seen, np.where(along < reach, np.clip(0.5 + 0.5 * gap * 9 / along, 0, 1), 1))
        along += np.clip(gap, 0.015, 0.2)
    return seen * seen * (3 - 2 * seen)


def openness(whole: Distance, p: Floats, n: Floats) -> Floats:
    """How open the sky is above each point, 0..1."""
    closed = sum((height - whole(p + n * height)) * weight for height, weight in ((0.04, 3.0), (0.12, 1.4), (0.3, 0.6)))
    return np.clip(1 - np.asarray(closed, np.float32), 0.05, 1)


def shade(view: View, things: list[Thing], p: Floats, ray: Floats) -> Floats:
    """Linear light that leaves the points p (n 3) towards the eye."""
    whole = nearest([thing.distance for thing in things])
    owner = np.argmin(np.stack([thing.distance(p) for thing in things]), 0)
    reflectance = np.select([(owner == i)[:, None] for i in range(len(things))], [thing.colour(p) for thing in things])
    gloss = np.array([thing.gloss for thing in things], np.float32)[owner]
    n, away = normals(whole, p), view.lamp - p
    to_lamp = unit(away)
    seen = lamplight(whole, p + n * 2e-3, to_lamp, length(away))
    lamp = np.maximum((n * to_lamp).sum(-1), 0) * seen * view.lamp_power / (length(away) ** 2)
    sky = openness(whole, p, n) * (0.55 + 0.45 * n[:, 1])
    shine = np.maximum((n * unit(to_lamp - ray)).sum(-1), 0) ** 70 * seen * gloss
    light = lamp[:, None] * view.lamp_colour + view.sky_power * sky[:, None] * view.sky_colour
    return reflectance * light + (1.4 * shine)[:, None] * view.lamp_colour


def rays(view: View, width: int, height: int) -> Floats:
    """One unit vector per sample, (height * width, 3), rows from the top."""
    forward = unit(view.target - view.eye)
    right = unit(np.cross(at(0, 1, 0), forward))
    up = np.cross(forward, right)
    x = (np.arange(width, dtype=np.float32) + 0.5 - width / 2) / (height / 2)
    y = (height / 2 - np.arange(height, dtype=np.float32) - 0.5) / (height / 2)
    plane = x[None, :, None] * right + y[:, None, None] * up + view.focal * forward
    return unit(plane.reshape(-1, 3).astype(np.float32))


def render(view: View, things: list[Thing], width: int, height: int, samples: int = 2) -> Floats:
    """The scene in linear light, (height, width, 3), 0..1; samples: rays per pixel and side."""
    ray = rays(view, width * samples, height * samples)
    light = np.empty_like(ray)
    for rows in np.array_split(np.arange(len(ray)), max(1, len(ray) // 120_000)):
        light[rows] = seen(view, things, ray[rows])
    light = light / (1 + 0.18 * light)  # the shoulder of a film: highlights roll off
    return np.clip(light, 0, 1).reshape(height, samples, width, samples, 3).mean((1, 3))


def seen(view: View, things: list[Thing], ray: Floats) -> Floats:
    """The light that comes along each ray (n 3)."""
    origin = np.broadcast_to(view.eye, ray.shape)
    depth = march(things, origin, ray, view.far)
    light = np.empty_like(ray) if view.backdrop is None else view.backdrop(ray)
    hit = depth < view.far if view.backdrop is not None else np.ones(len(ray), bool)
    light[hit] = shade(view, things, origin[hit] + depth[hit, None] * ray[hit], ray[hit])
    return light


def to_srgb(light: Floats) -> NDArray[np.uint8]:
    """Linear light -> 8-bit sRGB (IEC 61966-2-1)."""
    light = np.clip(light, 0, 1)
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return (curve * 255 + 0.5).astype(np.uint8)
