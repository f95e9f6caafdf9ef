"""Elementwise launches of one shape as one generated kernel, four values an invocation.

What is a number - sizes, strides, offsets, parameters - is a uniform, so the text of a kernel depends on the operations
and on which axes an operand repeats, not on the shape. A chain with too many operands becomes several kernels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.backends.queue import Launch
from core.backends.wgpu_kernels import collapse, floats, groups
from core.backends.wgpu_pool import View, in_one_piece, stretched
from core.primitives import Shape

if TYPE_CHECKING:
    from core.backends.wgpu import WgpuBackend

BUFFERS = 8  # storage buffers of a kernel: what every WebGPU device offers
FIELDS = 64  # uniforms of a kernel, four bytes each
V = "vec4<f32>"

EXPRESSIONS: dict[str, str] = {  # {0}, {1}, ... are the operands, then the parameters
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "affine": "{0} * {1} + {2}",
    "abs": "abs({0})",
    "exp": "exp({0})",
    "log": "log({0})",
    "log1p": "log1p({0})",
    "sqrt": "sqrt({0})",
    "sin": "sine({0}, 0.0)",
    "cos": "sine({0}, 1.0)",
    "tanh": "tangent({0})",
    "sigmoid": "sigmoid({0})",
    "softplus": "max({0}, vec4<f32>()) + log1p(exp(-abs({0})))",
    "silu": "{0} * sigmoid({0})",
    "silu_grad": "{0} * sigmoid({1}) * (1.0 + {1} * (1.0 - sigmoid({1})))",
    "greater": "select(vec4<f32>(), vec4<f32>(1.0), {0} > {1})",
    "nonfinite": "select(vec4<f32>(), vec4<f32>(1.0), (bitcast<vec4<u32>>({0}) & vec4<u32>(0x7f800000u)) == "
                 "vec4<u32>(0x7f800000u))",
    "where": "select({2}, {1}, {0} != vec4<f32>())",
    "maximum": "max({0}, {1})",
}

# none overflows; WGSL's own are inexact (sin, cos), or not a number (tanh) for large values on some devices
FUNCTIONS = {
    "sigmoid": """
fn sigmoid(x: vec4<f32>) -> vec4<f32> {
  return 1.0 / (1.0 + exp(-max(x, vec4<f32>(-87.0))));
}
""",
    "log1p": """
fn log1p(x: vec4<f32>) -> vec4<f32> {  // near 0 the series of 2 artanh(z): a device may take (1 + x) - 1 for x
  let z = x / (2.0 + x);
  let q = z * z;
  let near = 2.0 * z * (1.0 + q * (0.333333333 + q * (0.2 + q * 0.142857143)));
  return select(log(1.0 + x), near, abs(x) < vec4<f32>(0.25));
}
""",
    "tangent": """
fn tangent(x: vec4<f32>) -> vec4<f32> {  // a series near 0, where 1 - 2 / (e + 1) would cancel
  let z = x * x;
  let near = x + x * z * (-0.333333333 + z * (0.133333333 + z * (-0.0539682540 + z * 0.0218694885)));
  let far = 1.0 - 2.0 / (exp(2.0 * clamp(x, vec4<f32>(-15.0), vec4<f32>(15.0))) + 1.0);
  return select(far, near, abs(x) < vec4<f32>(0.3));
}
""",
    "sine": """
fn sine(x: vec4<f32>, quarter: f32) -> vec4<f32> {  // in quarters of a turn (Cody and Waite), Cephes's polynomials
  let q = round(x * 0.636619772);
  let r = ((x - q * 1.5703125) - q * 4.837512969970703e-4) - q * 7.54978995489188e-8;
  let z = r * r;
  let s = r + r * z * (-1.6666654611e-1 + z * (8.3321608736e-3 - z * 1.9515295891e-4));
  let c = 1.0 - 0.5 * z + z * z * (4.166664568298827e-2 + z * (-1.388731625493765e-3 + z * 2.443315711809948e-5));
  let turn = vec4<u32>(vec4<i32>(q + quarter)) & vec4<u32>(3u);
  let value = select(s, c, (turn & vec4<u32>(1u)) == vec4<u32>(1u));
  return select(value, -value, (turn & vec4<u32>(2u)) == vec4<u32>(2u));
}
""",
}

HEAD = """@group(0) @binding(0) var<uniform> u: array<vec4<u32>, 16>;
{bindings}{functions}
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {{
  let i = (group.x + groups.x * group.y) * 256u + lane;
  if (i >= u[0].x) {{
    return;
  }}
{body}}}
"""

Step = tuple[str, tuple[int, ...], int]  # a primitive, its inputs (a launch's number, or ~ an operand's), parameters


@dataclass
class Part:
    """One kernel of a chain."""

    text: str
    uniforms: list[int]  # up to the offsets
    operands: list[int]  # like a step's inputs
    strided: list[int]  # those of them that are read through strides
    results: list[int]  # numbers of launches
    steps: range


def run_chain(backend: WgpuBackend, chain: list[Launch]) -> None:
    """Run a chain; what nobody holds any more stays in registers, or goes to the pool."""
    made = {id(x.out()): i for i, x in enumerate(chain)}
    known: dict[int, int] = {}
    views: list[View] = []
    steps: list[Step] = []
    for x in chain:
        places = []
        for b in x.inputs:
            at = made.get(id(b), known.get(id(b)))
            if at is None:
                at = known[id(b)] = ~len(views)
                views.append(b.data)
                floats(x, b.data)
            places.append(at)
        steps.append((x.primitive.name, tuple(places), len(x.params)))
    for x in chain:
        x.inputs = []  # from here on only whoever still wants a result keeps its buffer alive
    outs = [x.out() for x in chain]
    shape = chain[0].shape
    key = (shape, tuple(steps), tuple(out is not None for out in outs),
           tuple((v.shape, v.strides, v.offset * 4 % backend.alignment == 0) for v in views))
    parts = backend.kernels.get(key)
    if parts is None:
        parts = backend.kernels[key] = list(plan(*key))
    at_hand: dict[int, View] = {~i: v for i, v in enumerate(views)}
    for part in parts:
        results = [backend.empty(shape) for _ in part.results]
        uniforms: list[int | float] = [*part.uniforms, *(at_hand[i].offset for i in part.strided)]
        for i in part.steps:
            uniforms += map(float, chain[i].params.values())
        operands = [at_hand[i].storage if i in part.strided else at_hand[i] for i in part.operands]
        backend.dispatch("chain", uniforms, operands, results, groups(part.uniforms[0]),
                         text=part.text)
        at_hand.update(zip(part.results, results, strict=True))
    for i, out in enumerate(outs):
        if out is not None:
            out.data = at_hand[i]


def plan(shape: Shape, steps: tuple[Step, ...], wanted: tuple[bool, ...],
          layouts: tuple[tuple[Shape, Shape, bool], ...]) -> Iterator[Part]:
    """Cut a chain into as few kernels as the limits allow, in order.

    Parameters
    ----------
    shape : tuple of int
        Of every result.
    steps : tuple of (str, tuple of int, int)
        Primitive, inputs (number of a step, or ~ number of an operand), number of parameters.
    wanted : tuple of bool
        Which results somebody holds.
    layouts : tuple of (shape, strides, bool)
        Of every operand; whether a binding can start at its first value.
    """
    last = {i: n for n, (_, places, _) in enumerate(steps) for i in places}  # the last step that reads it
    first = 0
    while first < len(steps):
        best = None
        for stop in range(first + 1, len(steps) + 1):
            operands = list(dict.fromkeys(i for _, places, _ in steps[first:stop] for i in places if i < first))
            results = [i for i in range(first, stop) if wanted[i] or last.get(i, -1) >= stop]
            part = _write(shape, steps, range(first, stop), operands, results, layouts)
            if best is not None and (len(operands) + len(results) > BUFFERS or len(part.uniforms) + len(part.strided)
                                     + sum(count for _, _, count in steps[first:stop]) > FIELDS):
                break
            best = part
        assert best is not None
        yield best
        first = best.steps.stop


def _field(n: int) -> str:
    return f"u[{n // 4}].{'xyzw'[n % 4]}"


def _write(shape: Shape, steps: tuple[Step, ...], span: range, operands: list[int], results: list[int],
           layouts: tuple[tuple[Shape, Shape, bool], ...]) -> Part:
    """A kernel for some steps of a chain."""
    strides: dict[int, Shape] = {}
    for i in operands:
        if i < 0:
            own, own_strides, aligned = layouts[~i]
            if not (own == shape and aligned and in_one_piece(own, own_strides)):
                strides[i] = stretched(own, own_strides, shape)
    sizes, places = collapse(shape, *strides.values())
    uniforms = [-(-math.prod(shape) // 4), *sizes[1:]]
    body: list[str] = []
    single: set[int] = set()  # operands whose four values are one
    packed: set[int] = set()  # operands whose four values are a vec4 in memory
    in_row = bool(sizes) and sizes[-1] % 4 == 0
    if strides and sizes:  # digits of the index along each axis; of the first of four where all lie in one row
        body.append("let lanes = vec4<u32>(0u, 1u, 2u, 3u);")
        body.append("let r = 4u * i;" if in_row else "let r = 4u * i + lanes;")
        rest = "r"
        for axis in range(len(sizes) - 1, 0, -1):
            size = _field(axis)
            body.append(f"let d{axis} = {rest} % {size}" + (" + lanes;" if in_row and axis == len(sizes) - 1 else ";"))
            body.append(f"let r{axis} = {rest} / {size};")
            rest = f"r{axis}"
        body.append(f"let d0 = {rest}" + (" + lanes;" if in_row and len(sizes) == 1 else ";"))
    terms: dict[int, str] = {}
    for i, strides_of in zip(strides, places, strict=True):
        moving = [axis for axis, s in enumerate(strides_of) if s]
        terms[i] = "".join(f" + d{axis} * {_field(len(uniforms) + n)}" for n, axis in enumerate(moving))
        uniforms += [s for s in strides_of if s]
        if not moving or (in_row and moving[-1] != len(sizes) - 1):
            single.add(i)
        elif in_row and layouts[~i][2] and strides_of[-1] == 1 and not any(s % 4 for s in strides_of[:-1]):
            packed.add(i)
    at = len(uniforms)
    bindings: list[str] = []
    for n, i in enumerate(operands):
        name = f"b{n}"
        kind = "f32" if i in strides and i not in packed else V
        bindings.append(f"@group(0) @binding({n + 1}) var<storage, read> {name}: array<{kind}>;")
        if i not in strides:
            body.append(f"let x{n} = {name}[i];")
            continue
        body.append(f"let p{n} = {_field(at)}{terms[i]};")
        at += 1
        if i in packed:
            body.append(f"let x{n} = {name}[p{n}.x / 4u];")
        else:
            values = [f"{name}[p{n}]"] if i in single else [f"{name}[p{n}.{c}]" for c in "xyzw"]
            body.append(f"let x{n} = {V}({', '.join(values)});")
    names = {i: f"x{n}" for n, i in enumerate(operands)}
    used: set[str] = set()
    for i in span:
        primitive, inputs, count = steps[i]
        given = [names[j] for j in inputs] + [f"bitcast<f32>({_field(at + n)})" for n in range(count)]
        at += count
        expression = EXPRESSIONS[primitive].format(*given)
        used |= {name for name in FUNCTIONS if name + "(" in expression}
        body.append(f"let t{i} = {expression};")
        names[i] = f"t{i}"
    for n, i in enumerate(results, len(operands)):
        bindings.append(f"@group(0) @binding({n + 1}) var<storage, read_write> y{n}: array<{V}>;")
        body.append(f"y{n}[i] = t{i};")
    text = HEAD.format(bindings="".join(b + "\n" for b in bindings), body="".join(f"  {line}\n" for line in body),
                       functions="".join(FUNCTIONS[f] for f in sorted(used)))
    return Part(text, uniforms, operands, list(strides), results, span)
