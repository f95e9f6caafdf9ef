"""The wire format in JavaScript against the same vectors, and against Python on spoiled messages, in Chromium."""

from __future__ import annotations

import json
import os
import random
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from canvas.codec import CHARTS, KINDS, LIMITS, Message, Refusal, decode_all, encode, text

if TYPE_CHECKING:
    from playwright.sync_api import Page

STATIC = Path(__file__).resolve().parents[2] / "static"
VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())
FLAGS = ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]
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


class Quiet(SimpleHTTPRequestHandler):
    """Files of one folder, without a line on the terminal for each."""

    def do_GET(self) -> None:
        if self.path == "/":  # a blank page of the same origin as the module
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """A blank page with codec.js and helpers in its window."""
    chromium = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        chromium = None
    if chromium is None:
        assert not os.environ.get("CI"), "install Chromium and the playwright package: they test codec.js"
        pytest.skip("needs Chromium and the playwright package")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=STATIC))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        page.evaluate(HELPERS)
        yield page
        browser.close()
    server.shutdown()
    server.server_close()


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


def test_spoiled_messages_meet_the_same_judgement(page: Page) -> None:
    draw = random.Random(3)
    good = [bytes.fromhex(vector["hex"]) for vector in VECTORS["good"]]
    spoiled = []
    for _ in range(4000):
        raw = bytearray(draw.choice(good))
        for _ in range(draw.randint(1, 3)):
            match draw.randrange(8):
                case 0:
                    del raw[draw.randrange(12, len(raw) + 1):]
                case 1:
                    raw += draw.choice(good)
                case 2:
                    raw[draw.randrange(4, 12)] = draw.randrange(20)
                case _:
                    raw[draw.randrange(len(raw))] ^= 1 << draw.randrange(8)
        spoiled.append((bytes(raw), draw.choice(list(LIMITS))))

    def judged(raw: bytes, to: str) -> str:
        try:
            return b"".join(encode(message) for message in decode_all(raw, to)).hex()
        except Refusal as refusal:
            return refusal.code

    found = page.evaluate("""(spoiled) => spoiled.map(([data, to]) => {
        let again = '';
        return code(() => { again = codec.decodeAll(bytes(data), to).map((m) => hex(codec.encode(m))).join(''); })
            || again;
    })""", [[raw.hex(), to] for raw, to in spoiled])
    expected = [judged(raw, to) for raw, to in spoiled]
    assert [pair for pair in zip(expected, found, spoiled, strict=True) if pair[0] != pair[1]] == []
    assert {"size", "kind", "chart", "dtype", "shape", "header", "text"} <= set(expected)


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
