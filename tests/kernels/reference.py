"""What the canvas's kernels compute, in plain float64 NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

A = NDArray[Any]


def deposit(layer: A, stamps: A, amount: float, erase: bool) -> A:
    height, width = layer.shape
    x, y, radius, strength = (stamps[:, i, None, None].astype(np.float64) for i in range(4))
    dx = np.abs((np.arange(width) + 0.5 - x) % width)
    dx, dy = np.minimum(dx, width - dx), np.arange(height)[:, None] + 0.5 - y
    weight = (strength * np.maximum(1 - (dx**2 + dy**2) / radius**2, 0) ** 2).max(axis=0, initial=0)
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


def paint(layer: A, points: list[list[float]], size: float, strength: float, sign: int = 1, erase: bool = False) -> A:
    """A stroke: half a dose down, half a dose up, l / (l + 16/15) for a move of l radii; erased shares multiply."""
    places = np.array(points)[:, :2] * layer.shape[::-1]
    radius, zero = size * layer.shape[1], np.zeros(2)
    events = [(places[0], zero), *zip(places[1:], np.diff(places, axis=0), strict=True), (places[-1], zero)]
    for n, (here, way) in enumerate(events):
        length, edge = float(np.hypot(*way)) / radius, n in (0, len(events) - 1)
        dose = 0.5 if edge else length / (length + 16 / 15)
        count = max(1, int(np.ceil(8 * length)))
        at = here - way * (1 - np.arange(1, count + 1)[:, None] / count)
        stamps = np.column_stack([at, np.full(count, radius), np.full(count, 1 if erase else dose)])
        layer = deposit(layer, stamps, 1 - (1 - strength) ** dose if erase else sign * strength, erase)
    return layer
