"""What the canvas's kernels compute, in plain float64 NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

A = NDArray[Any]


def deposit(layer: A, stamps: A, amount: float, erase: bool, hardness: float = 0) -> A:
    height, width = layer.shape
    x, y, radius, strength = (stamps[:, i, None, None].astype(np.float64) for i in range(4))
    dx = np.abs((np.arange(width) + 0.5 - x) % width)
    dx, dy = np.minimum(dx, width - dx), np.arange(height)[:, None] + 0.5 - y
    fall = np.clip((1 - (dx**2 + dy**2) / radius**2) / (1 - hardness**2), 0, 1)
    return add(layer, (strength * fall**2).max(axis=0, initial=0), amount, erase)


def add(layer: A, weight: A, amount: float, erase: bool) -> A:
    return layer * (1 - amount * weight) if erase else np.clip(layer + amount * weight, -3, 3)


def wave(layer: A, u: A, velocity: A, dt: float, speed: float, stiffness: float, damping: float) -> tuple[A, A]:
    w = u - layer
    mirrored = np.pad(w, ((1, 1), (0, 0)), "edge")
    laplacian = np.roll(w, 1, 1) + np.roll(w, -1, 1) + mirrored[:-2] + mirrored[2:] - 4 * w
    velocity = (velocity + dt * (speed**2 * laplacian - stiffness * w)) / (1 + damping * dt)
    return velocity, u + dt * velocity


def overlaps(n: int, cells: int) -> A:
    """Share of every cell that every one of n samples covers [cells, n]; rows sum to one."""
    edges, bounds = np.arange(n + 1) / n, np.arange(cells + 1)[:, None] / cells
    reach = np.minimum(edges[1:], bounds[1:]) - np.maximum(edges[:-1], bounds[:-1])
    return cells * np.maximum(reach, 0)


def area_mean(layer: A, bands: int, sheets: int) -> A:
    return overlaps(layer.shape[0], bands) @ layer.astype(np.float64) @ overlaps(layer.shape[1], sheets).T


def look_up(table: A, t: A) -> A:
    """RGBA in 0..255 of places in 0..1."""
    place = np.clip(t, 0, 1) * 255
    return np.stack([np.interp(place, np.arange(256), table[:, i]) for i in range(4)], axis=-1)


def bilinear(layer: A, columns: int, rows: int) -> A:
    height, width = layer.shape
    x, y = (np.arange(columns) + 0.5) * width / columns - 0.5, (np.arange(rows) + 0.5) * height / rows - 0.5
    left, low = np.floor(x).astype(int), np.floor(y).astype(int)
    lower, upper = layer[np.clip(low, 0, height - 1)], layer[np.clip(low + 1, 0, height - 1)]
    mixed = lower + (upper - lower) * (y - low)[:, None]
    return mixed[:, left % width] + (mixed[:, (left + 1) % width] - mixed[:, left % width]) * (x - left)


def colour(layer: A, field: A, tables: A, low: float, high: float, columns: int, rows: int) -> A:
    """RGBA pixels [rows, columns, 4] as floats in 0..255, top row first; tables [2, 256, 4]."""
    band = (2 * np.arange(rows) + 1) * field.shape[0] // (2 * rows)
    sheet = (2 * np.arange(columns) + 1) * field.shape[1] // (2 * columns)
    base = look_up(tables[0], (field[band[:, None], sheet].astype(np.float64) - low) / (high - low))
    value = bilinear(layer.astype(np.float64), columns, rows)
    paint = look_up(tables[1], (value + 3) / 6)
    cover = (np.minimum(np.abs(value) / 3, 1) * paint[..., 3] / 255)[..., None]
    rgb = base[..., :3] + (paint[..., :3] - base[..., :3]) * cover
    return np.concatenate([rgb, np.full((rows, columns, 1), 255.0)], axis=-1)[::-1]


def covered(polygon: A, width: int, height: int) -> A:
    """Cells whose middle an upward ray leaves through an odd number of edges; x cyclic [height, width]."""
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    inside = np.zeros((height, width), bool)
    for turn in range(-3, 4):
        odd = np.zeros((height, width), bool)
        here = polygon + np.array([turn * width, 0])
        for (ax, ay), (bx, by) in zip(here, np.roll(here, -1, 0), strict=True):
            if ax != bx:
                odd ^= ((ax <= x) != (bx <= x)) & (ay + (x - ax) * (by - ay) / (bx - ax) > y)
        inside |= odd
    return inside


def paint(layer: A, points: list[list[float]], size: float, strength: float, sign: int = 1, erase: bool = False,
          tool: str = "brush", hardness: float = 0, mirror: float | None = None) -> A:
    """A brush: half a dose down, half a dose up, l / (l + reach) for a move of l radii; erased shares multiply."""
    height, width = layer.shape
    places = np.array([p[:2] for p in points]) * [width, height]
    pressure = np.array([p[3] if len(p) > 3 else 1 for p in points])
    radius, zero = size * width, np.zeros(2)
    if tool in ("stamp", "lasso"):
        (x0, y0), (x1, y1) = places[0], places[-1]
        polygon = places if tool == "lasso" else np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
        weight = covered(polygon, width, height)
        if mirror is not None:
            weight |= covered(np.array([2 * mirror * width, 0]) + polygon * [-1, 1], width, height)
        return add(layer, weight.astype(float), strength if erase else sign * strength, erase)
    x = np.linspace(-1, 1, 200_001)
    reach = np.trapezoid(np.clip((1 - x**2) / (1 - hardness**2), 0, 1) ** 2, x)
    events = [(places[0], zero), *zip(places[1:], np.diff(places, axis=0), strict=True), (places[-1], zero)]
    for n, (here, way) in enumerate(events if tool == "brush" else events[1:2]):
        length, edge = float(np.hypot(*way)) / radius, n in (0, len(events) - 1)
        dose = 0.5 if edge else length / (length + reach)
        dose = pressure[min(n, len(points) - 1)] * dose if tool == "brush" else pressure[-1]
        if tool == "brush" and not edge and length == 0:
            continue
        count = max(1, int(np.ceil(8 * length)))
        at = here - way * (1 - np.arange(count + 1)[:, None] / count)
        stamps = np.column_stack([at, np.full(len(at), radius), np.full(len(at), 1 if erase else dose)])
        if mirror is not None:
            stamps = np.concatenate([stamps, np.array([2 * mirror * width, 0, 0, 0]) + stamps * [-1, 1, 1, 1]])
        layer = deposit(layer, stamps, 1 - (1 - strength) ** dose if erase else sign * strength, erase, hardness)
    return layer


def disk(painting: A, colours: A, background: A, ink: A, focus: complex, ring: float, pixels: int) -> A:
    """The Poincare disk from a point of view [pixels, pixels, 4], in 0..255; clear outside."""
    side = len(painting)
    across = (2 * np.arange(pixels) + 1 - pixels) / pixels
    w = across[None, :] - 1j * across[:, None]
    within = np.abs(w) < 1
    w = np.where(within, w, 0)
    z = (w + focus) / (1 + np.conj(focus) * w)
    cells = np.stack([(1 - z.imag) / 2, (1 + z.real) / 2]) * side - 0.5
    value = map_coordinates(painting.astype(np.float64), cells, order=1, mode="nearest")
    cover = np.minimum(np.abs(value) * 0.88, 0.69)[..., None]
    colour = background + (look_up(colours, (value + 1) / 2)[..., :3] - background) * cover
    nearest = np.clip(np.round(2 * np.arctanh(np.abs(w)) / ring), 1, 5)
    away = np.abs(np.abs(w) - np.tanh(nearest * ring / 2)) * pixels / 2
    colour = colour + (ink - colour) * (0.3 * np.clip(1 - away, 0, 1))[..., None]
    return np.where(within[..., None], np.concatenate([colour, np.full_like(value, 255)[..., None]], -1), 0)
