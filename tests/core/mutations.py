"""Breaks of the wgpu backend's kernels that the conformance cases must show: file, what, old text, new text.

A file is a kernel of `core/kernels`; "chain" is the text that `core/backends/wgpu_chain.py` writes.
"""

from __future__ import annotations

# primitives whose cases run a kernel
USERS: dict[str, tuple[str, ...]] = {
    "chain": ("add", "sigmoid", "tanh", "cos", "softplus"),
    "copy": ("transpose", "concat"),
    "fill": ("pad",),
    "reduction": ("sum", "max"),
    "matmul": ("matmul",),
    "take": ("take", "take_along"),
    "scatter": ("scatter_add", "scatter_along"),
    "cast": ("cast",),
}

MUTATIONS: list[tuple[str, str, str, str]] = [
    ("chain", "off by one, an index", "let r = 4u * i + lanes;", "let r = 4u * i + lanes + 1u;"),
    ("chain", "off by one, a packed operand", ".x / 4u]", ".x / 4u + 1u]"),
    ("chain", "flipped sign, sigmoid", "exp(-max(x", "exp(max(x"),
    ("chain", "flipped sign, tanh", "1.0 - 2.0 / (exp", "1.0 + 2.0 / (exp"),
    ("chain", "flipped sign, tanh near 0", "(-0.333333333 + z", "(0.333333333 + z"),
    ("chain", "flipped sign, softplus", "exp(-abs(x))", "exp(abs(x))"),
    ("chain", "off by one, quarter of a turn", "vec4<u32>(2u)) == vec4<u32>(2u)", "vec4<u32>(1u)) == vec4<u32>(1u)"),
    ("copy", "off by one, an axis", "let axis = 7u - back;", "let axis = 6u - back;"),
    ("copy", "flipped sign, a step", "source += digit", "source -= digit"),
    ("copy", "off by one, the end", "if (i >= u.count)", "if (i + 1u >= u.count)"),
    ("fill", "off by one, the end", "if (i < u.count)", "if (i + 1u < u.count)"),
    ("fill", "flipped bits", "out[i] = 0u;", "out[i] = 0x3f800000u;"),
    ("reduction", "flipped sign, a sum", "return a + b;", "return a - b;"),
    ("reduction", "flipped sign, where a maximum starts", "-0x1.fffffep+127f", "0x1.fffffep+127f"),
    ("reduction", "off by one, a row's first value", "j = first + lane; j", "j = first + lane + 1u; j"),
    ("reduction", "off by one, a column's end", "var j = first; j < min(first + u.chunk, u.length)",
     "var j = first; j + 1u < min(first + u.chunk, u.length)"),
    ("reduction", "dropped barrier, before the tree", "  partial[lane] = folded;\n  workgroupBarrier();",
     "  partial[lane] = folded;"),
    ("reduction", "dropped barrier, in the tree", "    }\n    workgroupBarrier();\n  }", "    }\n  }"),
    ("matmul", "flipped sign", "block00 += outer", "block00 -= outer"),
    ("matmul", "flipped sign, beyond the first quarter of a tile", "block11 += outer", "block11 -= outer"),
    ("matmul", "off by one, the end of k", "row < u.m && k < stop", "row < u.m && k + 1u < stop"),
    ("matmul", "off by one, a part", "let first = (group.z % u.parts) * u.part;",
     "let first = (group.z % u.parts) * u.part + 1u;"),
    ("matmul", "dropped barrier, before a tile is read", "    }\n    workgroupBarrier();\n    for",
     "    }\n    for"),
    ("matmul", "dropped barrier, after a tile is read", "    }\n    workgroupBarrier();\n  }", "    }\n  }"),
    ("take", "off by one, a row", "held(index[i / u.width]) * u.width", "(held(index[i / u.width]) + 1u) * u.width"),
    ("take", "flipped sign, a place along", "+ held(index[i])", "- held(index[i])"),
    ("scatter", "flipped sign, a row's sum", "sum += g[(first", "sum -= g[(first"),
    ("scatter", "off by one, a mark", "bits &= bits - 1u", "bits &= bits - 2u"),
    ("scatter", "off by one, the last of a row", "j < start + u.count", "j + 1u < start + u.count"),
    ("scatter", "dropped barrier, before marks are set", "    }\n    workgroupBarrier();\n    for (var i",
     "    }\n    for (var i"),
    ("scatter", "dropped barrier, before marks are read", "    }\n    workgroupBarrier();\n    if (column",
     "    }\n    if (column"),
    ("scatter", "dropped barrier, after marks are read", "    workgroupBarrier();\n  }", "  }"),
    ("cast", "flipped sign", "var pair = half(x[2u * i]);", "var pair = half(x[2u * i]) ^ 0x8000u;"),
    ("cast", "off by one, rounding", "(1u << (shift - 1u)) - 1u", "(1u << (shift - 1u)) - 2u"),
]
