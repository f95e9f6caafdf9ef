"""Spoiled messages: Python and JavaScript take the same ones, read the same in them, refuse the rest by the same code,
and keep nothing."""

from __future__ import annotations

import base64
import contextlib
import gc
import itertools
import json
import random
import struct
import time
import tracemalloc
from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from canvas.codec import HEADER, KINDS, LIMITS, Message, Refusal, decode_all, encode, text
from tests.canvas.javascript import blank_page, lacking
from tests.serving import absent

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())["good"]
TOGETHER = 2000  # messages that travel to the page at once
FIELDS = {"version": (4, "B"), "kind": (5, "B"), "dtype": (6, "B"), "ndim": (7, "B"), "chart": (8, "H"),
          "reserved": (10, "H"), "depth": (12, "I"), "sequence": (16, "Q"), "time": (24, "d"), "coherence": (32, "d"),
          "shape 0": (72, "I"), "shape 1": (76, "I"), "shape 2": (80, "I"), "shape 3": (84, "I")}
EXTREMES = {"B": (0, 1, 2, 3, 4, 5, 16, 17, 18, 127, 128, 255), "H": (0, 1, 2, 7, 8, 255, 256, 65535),
            "I": (0, 1, 2, 3, 1 << 16, 1 << 18, 2**31 - 1, 2**31, 2**32 - 1),
            "Q": (0, 1, 2**32, 2**53 - 1, 2**53, 2**63, 2**64 - 1),
            "d": (0.0, -0.0, 5e-324, 1.0, -1.0, 1.7976931348623157e308, float("inf"), float("-inf"), float("nan"))}
WORDS = (b"NaN", b"-Infinity", b"1e999", b"-1e-999", b"9" * 309, b"1" + b"0" * 308, b"17976931348623157" + b"0" * 292,
         b"17976931348623158079372" + b"0" * 286, b"null", b"[" * 17 + b"]" * 17, b'"\\ud800"', b'"\xed\xa0\x80"',
         b'"\xef\xbb\xbf"', b"01", b"-0", b"{}", b'{"a":1,"a":2}', b"1.", b".5", b"1E+2", b'"\x00"', b'"\\u0000"')


def messages() -> list[bytes]:
    """The vectors, texts of every sort of value, and a painted disk."""
    rng = random.Random(0)
    deep: Any = 1
    for _ in range(14):
        deep = [deep]
    texts = [{"a": [1, -2.5, True, None, "é\u2028𝄞"], "b": {"c": {"__proto__": 1, "": []}}, "1": 2**53},
             {"deep": deep, "x": 1e308, "y": "\x7f" * 40}]
    disk = array("f", [rng.uniform(-1, 1) for _ in range(128 * 128)])
    return ([bytes.fromhex(v["hex"]) for v in VECTORS]
            + [encode(text(kind, t, 7)) for kind in ("command", "text") for t in texts]
            + [encode(Message("patch", "disk", 3, (16, 16), "f32", memoryview(disk[:256]), 9, 1.7e9, 0.5, "ab" * 32)),
               encode(Message("patch", "disk", 3, (128, 128), "f32", memoryview(disk)))])


def spoiled(count: int, seed: int) -> Iterator[tuple[bytes, str]]:
    """Messages with one to three faults, and the side that is to read each."""
    draw = random.Random(seed)
    good = messages()
    usual = [m for m in good if len(m) < 4096]
    sides = {rule.code: rule.to for rule in KINDS.values()}
    for _ in range(count):
        raw = bytearray(draw.choice(usual) if draw.random() < 0.99 else good[-1])
        to = sides[raw[5]] if draw.random() < 0.9 else draw.choice(list(LIMITS))
        for _ in range(draw.randint(1, 3)):
            spoil(raw, draw, usual)
        yield bytes(raw), to


def spoil(raw: bytearray, draw: random.Random, good: list[bytes]) -> None:
    """One fault."""
    at = draw.randrange(len(raw) + 1)
    match draw.choice(["flip", "flip", "flip values", "cut", "cut to words", "insert", "zeros", "delete", "splice",
                       "append", "field", "field", "word", "word"]):
        case "flip" if raw:
            for _ in range(draw.randint(1, 8)):
                raw[draw.randrange(len(raw))] ^= 1 << draw.randrange(8)
        case "flip values" if len(raw) > HEADER.size:
            raw[draw.randrange(HEADER.size, len(raw))] ^= 1 << draw.randrange(8)
        case "cut":
            del raw[at:]
        case "cut to words":
            del raw[at // 8 * 8:]
        case "insert":
            raw[at:at] = draw.randbytes(draw.randint(1, 16))
        case "zeros":
            raw[at:at] = bytes(8 * draw.randint(1, 3))
        case "delete":
            del raw[at:at + draw.randint(1, 16)]
        case "splice":
            raw[:HEADER.size] = draw.choice(good)[:HEADER.size]
        case "append":
            raw += draw.choice(good)
        case "field":
            place, form = FIELDS[draw.choice(list(FIELDS))]
            if len(raw) >= HEADER.size:
                struct.pack_into("<" + form, raw, place, draw.choice(EXTREMES[form]))
        case "word" if len(raw) > HEADER.size and raw[HEADER.size:HEADER.size + 1] == b"{":
            body = bytes(raw[HEADER.size:HEADER.size + struct.unpack_from("<I", raw, 72)[0]])
            places = [i + 1 for i, c in enumerate(body) if c in b":[," or i == 0] or [1]
            cut = draw.choice(places)
            end = cut + draw.choice((0, 1, 2, 4))
            body = body[:cut] + draw.choice(WORDS) + draw.choice((b"", b",")) + body[end:]
            struct.pack_into("<I", raw, 72, len(body))
            raw[HEADER.size:] = body + bytes(-len(body) % 8)


PAGE = """async () => {
    const codec = await import('/codec.js'), hex = (array) => Array.from(new Uint8Array(array.buffer, array.byteOffset,
        array.byteLength), (byte) => byte.toString(16).padStart(2, '0')).join('');
    const told = ({ values, json, ...rest }) => [{ ...rest, time: hex(Float64Array.of(rest.time)),
        coherence: hex(Float64Array.of(rest.coherence)) }, hex(values), json ? JSON.stringify(json) : null];
    window.judge = async () => {
        const { text, sizes } = await (await fetch('/batch')).json();  // arguments of a script stay in the page
        const all = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
        let start = 0;
        return sizes.map(([size, to]) => {
            const own = all.slice(start, start += size);   // as it comes over the wire: a buffer of its own
            try { return codec.decodeAll(own, to).map(told); }
            catch (error) { return error instanceof codec.Refusal ? error.code : `not a refusal: ${error}`; }
        });
    };
    window.held = async () => { for (let i = 0; i < 3; i++) { gc(); await new Promise((r) => setTimeout(r, 20)); }
        return performance.memory.usedJSHeapSize; };
}"""


def judged(raw: bytes, to: str) -> str | list[Any]:
    """What Python makes of it: the code of a refusal, or what it reads. Anything else that is raised fails the test."""
    try:
        found = decode_all(raw, to)
    except Refusal as refusal:
        return refusal.code
    return [[{"kind": m.kind, "chart": m.chart, "sequence": m.sequence, "shape": list(m.shape), "dtype": m.dtype,
              "depth": m.depth, "frame": m.frame, "time": struct.pack("<d", m.time).hex(),
              "coherence": struct.pack("<d", m.coherence).hex()}, bytes(m.values).hex(),
             rounded(m.json()) if KINDS[m.kind].holds == "json" else None] for m in found]


def rounded(node: Any) -> Any:
    """A JSON value with all numbers as doubles, which is what JavaScript has."""
    if isinstance(node, dict):
        return {key: rounded(item) for key, item in node.items()}
    if isinstance(node, list):
        return [rounded(item) for item in node]
    return float(node) if isinstance(node, int) and not isinstance(node, bool) else node


def parsed(found: Any) -> Any:
    """The page's answer, its texts read."""
    return found if isinstance(found, str) else [
        [fields, values, None if said is None else rounded(json.loads(said))] for fields, values, said in found]


@pytest.mark.parametrize("count", [4000, pytest.param(100_000, marks=pytest.mark.long)])
def test_spoiled_messages_meet_the_same_judgement_and_nothing_grows(count: int) -> None:
    if missing := lacking():
        absent(missing)
    seed, codes, taken = count, Counter[str](), 0
    print(f"seed {seed}")
    source, began = spoiled(count, seed), time.monotonic()
    heaps = []
    with blank_page("--js-flags=--expose-gc", "--enable-precise-memory-info") as page:
        page.evaluate(PAGE)
        page.route("**/batch", lambda route: route.fulfill(json={
            "text": base64.b64encode(b"".join(raw for raw, _ in batch)).decode(),
            "sizes": [[len(raw), to] for raw, to in batch]}))
        while batch := list(itertools.islice(source, TOGETHER)):
            theirs = page.evaluate("judge()")
            for (raw, to), their in zip(batch, theirs, strict=True):
                ours = judged(raw, to)
                assert ours == parsed(their), (raw.hex()[:2000], to)
                if isinstance(ours, str):
                    codes[ours] += 1
                else:
                    taken += 1
            heaps.append(page.evaluate("held()"))
    print(f"{count:,} messages in {time.monotonic() - began:.0f} s: {taken:,} taken, refused "
          f"{dict(codes.most_common())}; the page held {heaps[0]:,} bytes at first and {heaps[-1]:,} at last")
    assert taken + codes.total() == count
    assert taken > count / 50
    assert {"size", "magic", "version", "kind", "chart", "dtype", "shape", "header", "values", "text"} == set(codes)
    assert heaps[-1] - heaps[0] < 1 << 19


@pytest.mark.parametrize("count", [4000, pytest.param(100_000, marks=pytest.mark.long)])
def test_python_keeps_nothing_and_reserves_no_more_than_it_reads(count: int) -> None:
    """Lengths that promise gigabytes reserve none."""
    held, worst = [], 0.0
    tracemalloc.start()
    for number, (raw, to) in enumerate(spoiled(count, count + 1)):
        if number % (count // 10) == 0:
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        with contextlib.suppress(Refusal):
            decode_all(raw, to)
        worst = max(worst, (tracemalloc.get_traced_memory()[1] - before) / (len(raw) + 1024))
    tracemalloc.stop()
    print(f"{count:,} messages: {held[1]:,} bytes held after a tenth, {held[-1]:,} at last; at most {worst:.1f} bytes "
          "for each that came")
    assert held[-1] - held[1] < 1 << 16
    assert worst < 64
