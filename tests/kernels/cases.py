"""Launches of every kernel over odd sizes with what they must give, and the mutations that must not pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.kernels import reference
from tests.kernels.launch import Launch, packed, uniforms

A = NDArray[Any]
SIZES = ((1, 1), (7, 5), (63, 33), (129, 65), (256, 160))  # width, height
WAVE = {"dt": 1 / 240, "speed": 150.0, "stiffness": 900.0, "damping": 14.0}
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Case:
    """A launch and the arrays its outputs hold, up to `TOLERANCE` of the largest value or one byte level."""

    name: str
    launch: Launch
    expected: tuple[A, ...]

    def error(self, results: list[A]) -> float:
        """Largest error relative to the largest expected value; for pixels, in levels of a byte."""
        errors = []
        for got, want in zip(results, self.expected, strict=True):
            if got.dtype == np.uint32:
                errors.append(float(np.abs(unpacked(got, want.shape) - want).max()))
            else:
                difference = np.abs(got[: want.size].astype(np.float64) - want.ravel())
                errors.append(float(difference.max() / (np.abs(want).max() or 1)))
        return max(errors)

    @property
    def allowed(self) -> float:
        return 1.0 if self.launch.kernel in ("colour", "disk") else TOLERANCE

    def passes(self, results: list[A]) -> bool:
        return self.error(results) <= self.allowed  # NaN does not pass


def unpacked(pixels: A, shape: tuple[int, ...]) -> A:
    """Bytes [rows, columns, 4] without the padding of the rows."""
    return pixels.view(np.uint8).reshape(shape[0], -1, 4)[:, : shape[1]].astype(np.float64)


def blocks(cells: int) -> int:
    return -(-cells // 256)


def random_layer(rng: np.random.Generator, width: int, height: int) -> A:
    return rng.uniform(-3, 3, (height, width)).astype(np.float32)


def some_tables(rng: np.random.Generator) -> A:
    """Two smooth tables [2, 256, 4]; neighbouring entries differ by a few levels, as in any colour map."""
    t = np.linspace(0, 1, 256)[:, None]
    phase = rng.uniform(0, 6, (2, 1, 4))
    return np.round(127.5 + 127.5 * np.sin(4 * t + phase)).astype(np.uint8)


def deposit_cases() -> Iterator[Case]:
    rng = np.random.default_rng(1)
    for width, height in SIZES:
        layer = random_layer(rng, width, height)
        count = 5
        stamps = np.column_stack([rng.uniform(-width, 2 * width, count), rng.uniform(-2, height + 2, count),
                                  rng.uniform(1, 2 + height / 4, count), rng.uniform(0.3, 1, count)]).astype(np.float32)
        stamps[-1, :2] = 0.25, 0.4  # the last stamp is seen, across the seam too
        for name, amount, erase in (("paint", 1.7, False), ("negative", -2.5, False), ("erase", 0.8, True)):
            for hardness in (0.0, 0.7):
                data = uniforms(width, height, count, int(erase), 0, amount, hardness)
                launch = Launch("deposit", data, (packed(stamps), packed(layer)), (blocks(layer.size), 1), (2,))
                expected = reference.deposit(layer.astype(np.float64), stamps, amount, erase, hardness)
                yield Case(f"{width}x{height} {name} {hardness}", launch, (expected,))
        rows = rng.integers(0, height, count)
        ends = np.sort(rng.integers(0, width + 1, (count, 2)), axis=1)
        ends[-1] = 0, width
        spans = np.column_stack([rows, ends, np.ones(count)]).astype(np.float32)
        launch = Launch("deposit", uniforms(width, height, count, 0, 1, 1.7, 0.0), (packed(spans), packed(layer)),
                        (blocks(layer.size), 1), (2,))
        weight = np.zeros((height, width))
        for row, (start, end) in zip(rows, ends, strict=True):
            weight[row, start:end] = 1
        yield Case(f"{width}x{height} spans", launch, (reference.add(layer.astype(np.float64), weight, 1.7, False),))


def wave_cases() -> Iterator[Case]:
    rng = np.random.default_rng(2)
    for width, height in SIZES:
        layer, u = random_layer(rng, width, height), random_layer(rng, width, height)
        velocity = rng.normal(0, 50, (height, width)).astype(np.float32)
        data = uniforms(width, height, *(float(v) for v in WAVE.values()))
        buffers = (packed(layer), packed(u), packed(velocity), packed(np.zeros_like(u)))
        launch = Launch("wave", data, buffers, (blocks(layer.size), 1), (3, 4))
        yield Case(f"{width}x{height}", launch, reference.wave(*(a.astype(np.float64) for a in (layer, u, velocity)),
                                                               **WAVE))


def reduce_cases() -> Iterator[Case]:
    rng = np.random.default_rng(3)
    grids = ((2, 2), (3, 2), (6, 8), (7, 11), (6, 8), (1, 1))
    for (width, height), grid in zip((*SIZES, (63, 33)), grids, strict=True):
        layer = random_layer(rng, width, height) + np.float32(0.5)
        launch = Launch("reduce", uniforms(width, height, *grid), (packed(layer), packed(np.zeros(grid, np.float32))),
                        (-(-grid[0] * grid[1] // 4), 1), (2,))
        yield Case(f"{width}x{height} to {grid[0]}x{grid[1]}", launch, (reference.area_mean(layer, *grid),))


def colour_cases() -> Iterator[Case]:
    rng = np.random.default_rng(4)
    outputs = ((1, 1), (13, 9), (64, 40), (301, 177), (65, 3))
    for (width, height), (columns, rows), grid in zip(SIZES, outputs, ((1, 2), (3, 2), (6, 8), (7, 11), (6, 8)),
                                                      strict=True):
        layer, field = random_layer(rng, width, height), rng.uniform(-0.1, 1.4, grid).astype(np.float32)
        layer[rng.random(layer.shape) < 0.2] = 0
        tables, stride = some_tables(rng), -(-columns // 64) * 64
        data = uniforms(width, height, *grid, columns, rows, stride, 0.1, 1.2)
        buffers = (packed(layer), packed(field), tables.view(np.uint32).ravel(), np.zeros(stride * rows, np.uint32))
        launch = Launch("colour", data, buffers, (blocks(stride), rows), (4,))
        yield Case(f"{width}x{height} to {columns}x{rows}", launch,
                   (reference.colour(layer, field, tables, 0.1, 1.2, columns, rows),))


def disk_cases() -> Iterator[Case]:
    rng = np.random.default_rng(8)
    for side, pixels, focus, ring in ((1, 1, 0j, 1.0), (7, 13, 0.3 + 0.2j, 0.7), (33, 64, 0j, 1.0),
                                      (128, 129, -0.6 + 0.7j, 1.0), (128, 301, 0.1 - 0.9j, 1.3)):
        painting = rng.uniform(-1, 1, (side, side)).astype(np.float32)
        painting[rng.random(painting.shape) < 0.2] = 0
        colours, stride = some_tables(rng)[0], -(-pixels // 64) * 64
        background, ink = (np.append(rng.integers(0, 256, 3), 0).astype(np.uint8) for _ in range(2))
        data = uniforms(side, pixels, stride, *(int(c.view(np.uint32)[0]) for c in (background, ink)),
                        focus.real, focus.imag, ring)
        buffers = packed(painting), colours.view(np.uint32).ravel(), np.zeros(stride * pixels, np.uint32)
        launch = Launch("disk", data, buffers, (blocks(stride), pixels), (3,))
        yield Case(f"{side} from {focus} in {pixels}", launch,
                   (reference.disk(painting, colours, background[:3], ink[:3], focus, ring, pixels),))


def fft_cases() -> Iterator[Case]:
    """A picture's rows, real, and then its columns, pairs: as `static/spectrumgpu.js` has them transformed."""
    rng = np.random.default_rng(6)
    for width, height in SIZES:
        x = rng.normal(size=(height, width)).astype(np.float32)
        rows = np.fft.fft(x.astype(np.float64), axis=1)
        given = pairs(rows).astype(np.float32)
        columns = np.fft.fft(given[..., 0].astype(np.float64) + 1j * given[..., 1], axis=0)
        for name, n, inner, outer, source, values, want in (
                ("rows", width, 1, height, 1, x, rows), ("columns", height, width, 1, 0, given, columns)):
            held, radices = 1024 // n, by_fours(n)
            roots = pairs(np.exp(-2j * np.pi * np.arange(n) / n)).astype(np.float32)
            launch = Launch("fft", uniforms(outer, n, len(radices), 0, *(radices + [0] * 8)[:8]),
                            (packed(values), packed(roots), packed(np.zeros((height, width, 2), np.float32))),
                            (-(-outer * inner // held), 1), (3,), "inside",
                            (("source", source), ("target_kind", 0), ("N", n), ("INNER", inner), ("RADIX", n),
                             ("SPAN", 1), ("COLUMNS", held)))
            yield Case(f"{width}x{height} {name}", launch, (pairs(want),))


def power_cases() -> Iterator[Case]:
    rng = np.random.default_rng(7)
    for width, height in SIZES:
        values = rng.normal(size=(height, width, 2)).astype(np.float32)
        values[0, -1] = 0
        power = (values.astype(np.float64) ** 2).sum(-1) / (width * height) ** 2
        buffers = packed(values), packed(np.zeros((height, width), np.float32))
        launch = Launch("power", uniforms(width, height), buffers, (blocks(width * height), 1), (2,))
        yield Case(f"{width}x{height}", launch, (np.fft.fftshift(10 * np.log10(np.maximum(power, 1e-12))),))


def pairs(values: A) -> A:
    """Real and imaginary parts along a new last axis."""
    return np.stack([values.real, values.imag], -1)


def by_fours(n: int) -> list[int]:
    """Radices of a transform of n values."""
    found = []
    for p in (4, 2, *range(3, n + 1, 2)):
        while n % p == 0:
            found.append(p)
            n //= p
    return found


MAKERS: dict[str, Callable[[], Iterator[Case]]] = {
    "colour": colour_cases, "deposit": deposit_cases, "disk": disk_cases, "fft": fft_cases, "power": power_cases,
    "reduce": reduce_cases, "wave": wave_cases}

MUTATIONS = (  # kernel, what is broken, text, replacement
    ("deposit", "flipped sign, paint", "values[k] + event.amount", "values[k] - event.amount"),
    ("deposit", "flipped sign, erase", "1.0 - event.amount", "1.0 + event.amount"),
    ("deposit", "flipped sign, falloff", "1.0 - (dx", "1.0 + (dx"),
    ("deposit", "off by one, stamps", "i < event.marks", "i + 1u < event.marks"),
    ("deposit", "off by one, column", "f32(cell % event.width) + 0.5", "f32(cell % event.width) + 1.5"),
    ("deposit", "off by one, row", "f32(cell / event.width) + 0.5", "f32(cell / event.width) - 0.5"),
    ("deposit", "off by one, cell of the vec4", "4u * id.x + k;", "4u * id.x + k + 1u;"),
    ("deposit", "dabs add up", "weight = max(weight, mark.w * fall * fall)", "weight += mark.w * fall * fall"),
    ("deposit", "as soft as can be", "/ soft, 0.0", ", 0.0"),
    ("deposit", "off by one, start of a span", "x > mark.y", "x > mark.y + 1.0"),
    ("deposit", "off by one, end of a span", "x < mark.z", "x < mark.z + 1.0"),
    ("deposit", "off by one, row of a span", "floor(y) == mark.x", "round(y) == mark.x"),
    ("deposit", "no wrap", "dx -= around * round(dx / around);", ""),
    ("deposit", "no clamp", "clamp(values[k] + event.amount * weight, -LIMIT, LIMIT)",
     "values[k] + event.amount * weight"),
    ("wave", "flipped sign, stiffness", "- wave.stiffness * here", "+ wave.stiffness * here"),
    ("wave", "flipped sign, damping", "1.0 + wave.damping", "1.0 - wave.damping"),
    ("wave", "flipped sign, drift", "before[id.x] + wave.dt", "before[id.x] - wave.dt"),
    ("wave", "off by one, left", "x + wave.width - 1u", "x + wave.width - 2u"),
    ("wave", "off by one, right", "(x + 1u) % wave.width", "(x + 2u) % wave.width"),
    ("wave", "off by one, floor", "max(y, 1u) - 1u", "y"),
    ("wave", "off by one, ceiling", "min(y + 1u, wave.height - 1u)", "min(y + 1u, wave.height)"),
    ("wave", "periodic in y", "max(y, 1u) - 1u", "(y + wave.height - 1u) % wave.height"),
    ("wave", "other centre", "4.0 * here", "3.0 * here"),
    ("colour", "flipped sign, cover", "abs(value) / LIMIT", "-value / LIMIT"),
    ("colour", "flipped sign, value", "look_up(256u, value", "look_up(256u, -value"),
    ("colour", "off by one, table", "first + index + 1u", "first + index + 2u"),
    ("colour", "off by one, second table", "look_up(256u", "look_up(255u"),
    ("colour", "off by one, row", "picture.rows - 1u - id.y", "picture.rows - id.y"),
    ("colour", "off by one, neighbour", "(left + 1u)", "(left + 2u)"),
    ("colour", "half a cell aside", "+ picture.rows;", "+ 2u * picture.rows;"),
    ("colour", "no clamp", "clamp((value - low) / (high - low), 0.0, 1.0)", "abs((value - low) / (high - low))"),
    ("colour", "not upside down", "picture.rows - 1u - id.y", "id.y"),
    ("disk", "flipped sign, what is painted", "look_up(value)", "look_up(-value)"),
    ("disk", "flipped sign, the view", "a.x * w.y - a.y * w.x", "a.y * w.x - a.x * w.y"),
    ("disk", "off by one, column", "2 * i32(column) + 1", "2 * i32(column) + 3"),
    ("disk", "off by one, row", "n - 1 - 2 * i32(row)", "n - 3 - 2 * i32(row)"),
    ("disk", "off by one, the last cell", "i32(view.side) - 1", "i32(view.side) - 2"),
    ("disk", "off by one, table", "index + 1u", "index + 2u"),
    ("disk", "half a cell aside", "f32(view.side) - 0.5", "f32(view.side)"),
    ("disk", "rings at Euclidean distances", "2.0 * atanh(far)", "2.0 * far"),
    ("disk", "a ring in the middle", ", 1.0, RINGS)", ", 0.0, RINGS)"),
    ("fft", "flipped sign, product", "a.x * b.x - a.y * b.y", "a.x * b.x + a.y * b.y"),
    ("fft", "flipped sign, quarter turn", "b.y - d.y, d.x - b.x", "d.y - b.y, b.x - d.x"),
    ("fft", "off by one, radix", "p < radix", "p + 1u < radix"),
    ("fft", "off by one, a value of a step", "(j + p * (n / radix))", "(j + 1u + p * (n / radix))"),
    ("fft", "dropped barrier, before the steps", "}\n  workgroupBarrier();\n  var from_half", "}\n  var from_half"),
    ("power", "flipped sign", "TENS * log2", "-TENS * log2"),
    ("power", "off by one, column", "(spectrum.columns + 1u) / 2u", "(spectrum.columns + 3u) / 2u"),
    ("power", "off by one, row", "(spectrum.rows + 1u) / 2u", "(spectrum.rows + 3u) / 2u"),
    ("power", "no floor", "max(dot(value, value), FLOOR)", "dot(value, value)"),
    ("reduce", "flipped sign", "sum += layer", "sum -= layer"),
    ("reduce", "dropped barrier, before the tree", "partial[lane] = sums;\n  workgroupBarrier();",
     "partial[lane] = sums;"),
    ("reduce", "dropped barrier, in the tree", "}\n    workgroupBarrier();", "}"),
    ("reduce", "off by one, lanes", "i += LANES", "i += LANES + 1u"),
    ("reduce", "off by one, tree", "half > 0u", "half > 1u"),
    ("reduce", "off by one, overlap", "min((x + 1u)", "min((x + 2u)"),
    ("reduce", "off by one, rows", "grid.bands - 1u) / grid.bands", "grid.bands - 1u) / grid.bands - 1u"),
    ("reduce", "no fractions", "f32(across * along)", "f32(grid.sheets * grid.bands)"),
)
