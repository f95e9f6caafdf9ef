"""The wire format in JavaScript against the same vectors, in Chromium."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from canvas.codec import CHARTS, KINDS, LIMITS, Message, encode, text
from tests.canvas.javascript import blank_page, lacking
from tests.serving import absent

if TYPE_CHECKING:
    from playwright.sync_api import Page

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())
HELPERS = """async () => {
    const codec = await import('/codec.js');
    const bytes = (hex) => Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
    const hex = (buffer) => Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, '0')).join('');
    const code = (work) => {
        try { work(); return ''; }
        catch (error) { return error instanceof codec.Refusal ? error.code : `not a refusal: ${error}`; }
    };
    Object.assign(window, { codec, bytes, hex, code });
}"""


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """A blank page with codec.js and helpers in its window."""
    if missing := lacking():
        absent(missing)
    with blank_page() as page:
        page.evaluate(HELPERS)
        yield page


def test_good_vectors_read_and_write_the_same(page: Page) -> None:
    found = page.evaluate("""(vectors) => vectors.map(({ hex: data, to, fields, json }) => {
        const [message, ...more] = codec.decodeAll(bytes(data).buffer, to);
        const own = { ...fields, values: message.values.constructor.from(fields.values) };
        return { more: more.length, fields: { ...message, values: Array.from(message.values) },
                 again: hex(codec.encode(message)), own: hex(codec.encode(own)) };
    })""", VECTORS["good"])
    for vector, seen in zip(VECTORS["good"], found, strict=True):
        expected = vector["fields"] | ({"json": vector["json"]} if "json" in vector else {})
        assert seen == {"more": 0, "fields": expected, "again": vector["hex"], "own": vector["hex"]}, vector["name"]


def test_bad_vectors_are_refused_by_the_same_code(page: Page) -> None:
    found = page.evaluate("""(vectors) => vectors.map(({ hex: data, value, to }) =>
        code(() => codec.decodeAll(data === undefined ? value : bytes(data).buffer, to)))""", VECTORS["bad"])
    assert dict(zip((v["name"] for v in VECTORS["bad"]), found, strict=True)) == {
        v["name"]: v["code"] for v in VECTORS["bad"]}


def test_values_look_into_the_buffer_and_odd_offsets_are_copied(page: Page) -> None:
    batch = encode(Message("series", "looks", 1, (1, 2), "f64", bytes(16)))
    batch += encode(text("text", {"é": 1}, 2))
    assert page.evaluate("""(data) => {
        const buffer = bytes(data).buffer;
        const straight = codec.decodeAll(buffer);
        const odd = new Uint8Array(buffer.byteLength + 3);
        odd.set(new Uint8Array(buffer), 3);
        const moved = codec.decodeAll(odd.subarray(3));
        class Subclassed extends Uint8Array {}
        return [straight[0].values.buffer === buffer, straight[1].json, moved[0].values.buffer === odd.buffer,
                moved[1].json, codec.decodeAll(Subclassed.from(bytes(data))).length];
    }""", batch.hex()) == [True, {"é": 1}, False, {"é": 1}, 2]


def test_what_is_too_long_is_refused_before_it_is_read(page: Page) -> None:
    sizes = [[to, size + more] for to, size in LIMITS.items() for more in (0, 1)]
    assert page.evaluate("""(sizes) => sizes.map(([to, size]) =>
        code(() => codec.decodeAll(new ArrayBuffer(size), to)))""", sizes) == ["magic", "size", "magic", "size"]


def test_encoding_refuses_what_decoding_would(page: Page) -> None:
    assert page.evaluate("""() => {
        const patch = { kind: 'patch', chart: 'atlas', shape: [1, 2], dtype: 'f32', values: new Float32Array(2) };
        const changes = [{}, { kind: 'toString' }, { chart: 'none' }, { values: new Int32Array(2) }, { shape: [2] },
            { shape: [1.5, 0] }, { values: [0, 0] }, { values: new Float32Array(3) }, { sequence: 2 ** 53 },
            { sequence: 0.5 }, { depth: -1 }, { time: NaN }, { coherence: Infinity }, { frame: 'AB' },
            { values: Float32Array.of(1, NaN) }];
        return changes.map((change) => code(() => codec.encode({ ...patch, ...change })));
    }""") == ["", "kind", "chart", "dtype", "shape", "shape", "type", "size", "header", "header", "header", "header",
              "header", "header", "values"]
    assert page.evaluate("code(() => codec.text('command', { a: [NaN] }))") == "text"
    assert page.evaluate("hex(codec.encode(codec.text('command', { do: 'ü' }, 7)))") == encode(
        text("command", {"do": "ü"}, 7)).hex()


def test_tables_are_the_same_in_both(page: Page) -> None:
    # every chart with every kind: the rest of the table is in the vectors
    found = page.evaluate("""([kinds, charts]) => kinds.map(([kind, rule]) => charts.filter((chart) => !code(() =>
        codec.encode(rule.holds === 'json' ? { ...codec.text(kind, {}), chart } : { kind, chart, dtype: rule.dtype,
            shape: Array(rule.ndim).fill(0) }))))""",
        [[[kind, rule._asdict()] for kind, rule in KINDS.items()], list(CHARTS)])
    assert found == [list(rule.charts) for rule in KINDS.values()]
