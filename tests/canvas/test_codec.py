"""The wire format in Python: shared vectors, round trips, and no bytes at all that raise anything but a refusal."""

from __future__ import annotations

import json
import math
import struct
import sys
from array import array
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canvas.codec import (
    CHARTS,
    CODES,
    DTYPES,
    FORMATS,
    HEADER,
    KINDS,
    LIMITS,
    MAX_BYTES,
    Message,
    Refusal,
    decode,
    decode_all,
    encode,
    text,
)
from core.frame import ZFrame

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())
SESSION_CODES = {"sequence", "frame", "rate", "command"}
DEEP = b'{"a":' * 5000 + b"1" + b"}" * 5000


def refused(data: object, to: str = "server", max_bytes: int | None = None) -> str:
    """The code that decoding gives, "" where it is taken; it must have a reason."""
    try:
        decode(data, to, max_bytes)
    except Refusal as refusal:
        found = refusal
    else:
        return ""
    assert found.code in CODES
    assert str(found)
    return found.code


def with_body(kind: str, raw: bytes, shape: tuple[int, ...], **fields: Any) -> bytes:
    """Bytes of a message that `encode` may refuse to write."""
    rule = KINDS[kind]
    head = {"version": 1, "chart": CHARTS[rule.charts[0]], "reserved": 0, "depth": 0, "sequence": 1, "time": 1.0,
            "coherence": 0.0} | fields
    return HEADER.pack(b"ZSPC", head["version"], rule.code, DTYPES[rule.dtype], rule.ndim, head["chart"],
                       head["reserved"], head["depth"], head["sequence"], head["time"], head["coherence"], bytes(32),
                       *shape, *(0,) * (4 - len(shape))) + raw + bytes(-len(raw) % 8)


@pytest.mark.parametrize("vector", VECTORS["good"], ids=lambda vector: vector["name"])
def test_good_vectors_mean_what_they_say(vector: dict[str, Any]) -> None:
    data, fields = bytes.fromhex(vector["hex"]), vector["fields"]
    message = decode(data, vector["to"])
    assert {key: getattr(message, key) for key in fields if key not in ("shape", "values")} == {
        key: value for key, value in fields.items() if key not in ("shape", "values")}
    assert list(message.shape) == fields["shape"]
    assert list(message.values) == fields["values"]
    if "json" in vector:
        assert message.json() == vector["json"]
    assert encode(message) == data
    written = Message(**fields | {"shape": tuple(fields["shape"]),
                                  "values": memoryview(array(FORMATS[fields["dtype"]], fields["values"]))})
    assert encode(written) == data


@pytest.mark.parametrize("vector", VECTORS["bad"], ids=lambda vector: vector["name"])
def test_bad_vectors_are_refused_by_code(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["hex"]) if "hex" in vector else vector["value"]
    assert refused(data, vector["to"]) == vector["code"]


def test_vectors_cover_every_kind_and_code() -> None:
    assert {v["fields"]["kind"] for v in VECTORS["good"]} == set(KINDS)
    assert {v["fields"]["dtype"] for v in VECTORS["good"]} == {rule.dtype for rule in KINDS.values()}
    codes = [v["code"] for v in VECTORS["bad"]]
    assert all(codes.count(code) >= 2 for code in set(CODES) - SESSION_CODES)
    assert not set(codes) & SESSION_CODES


@st.composite
def messages(draw: st.DrawFn) -> Message:
    """Any message of any kind."""
    kind = draw(st.sampled_from(sorted(KINDS)))
    rule = KINDS[kind]
    sequence = draw(st.integers(0, 2**53 - 1))
    if rule.holds == "json":
        leaves = st.none() | st.booleans() | st.integers(-2**53, 2**53) | st.floats(
            allow_nan=False, allow_infinity=False) | st.text(st.characters(codec="utf-8"))
        tree = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
            st.text(st.characters(codec="utf-8")), inner, max_size=3), max_leaves=8)
        return text(kind, draw(st.dictionaries(st.text(st.characters(codec="utf-8")), tree, max_size=3)), sequence)
    sizes = st.just(0) if rule.holds == "nothing" else st.integers(0, 5)
    shape = tuple(draw(st.lists(sizes, min_size=rule.ndim, max_size=rule.ndim)))
    count = math.prod(shape)
    if rule.dtype == "u8":
        values: bytes | memoryview = draw(st.binary(min_size=count, max_size=count))
    else:
        floats = st.floats(width=32 if rule.dtype == "f32" else 64, allow_nan=False, allow_infinity=False)
        values = memoryview(array(FORMATS[rule.dtype], draw(st.lists(floats, min_size=count, max_size=count))))
    finite = st.floats(0, allow_nan=False, allow_infinity=False)
    return Message(kind, draw(st.sampled_from(rule.charts)), sequence, shape, rule.dtype, values,
                   draw(st.integers(0, 2**32 - 1)), draw(finite), draw(finite) if kind == "patch" else 0.0,
                   draw(st.sampled_from(["", "ab" * 32, "00" * 31 + "01"])))


@given(messages())
def test_round_trip(message: Message) -> None:
    data = encode(message)
    assert len(data) % 8 == 0
    found = decode(data, KINDS[message.kind].to)
    assert found == Message(**{**vars(message), "values": found.values})
    assert bytes(found.values) == bytes(message.values)
    if KINDS[message.kind].holds == "json":
        assert found.json() == message.json()


@given(st.lists(messages(), max_size=4))
def test_a_batch_is_its_messages_end_to_end(batch: list[Message]) -> None:
    for to in LIMITS:
        mine = [encode(message) for message in batch if KINDS[message.kind].to == to]
        assert [encode(message) for message in decode_all(b"".join(mine), to)] == mine


@given(st.binary(max_size=200) | st.builds(lambda head, rest: b"ZSPC\x01" + head + rest, st.sampled_from(
    [bytes([rule.code]) for rule in KINDS.values()]), st.binary(min_size=83, max_size=200)), st.sampled_from(
    sorted(LIMITS)))
def test_any_bytes_are_a_message_or_a_refusal(data: bytes, to: str) -> None:
    if not refused(data, to):
        assert encode(decode(data, to)) == data


@given(messages(), st.data())
def test_any_mutation_is_a_message_or_a_refusal(message: Message, data: st.DataObject) -> None:
    raw = bytearray(encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        how = data.draw(st.sampled_from(["flip", "truncate", "extend"]))
        if how == "flip" and raw:
            raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
        elif how == "truncate":
            del raw[data.draw(st.integers(0, len(raw))):]
        else:
            raw += data.draw(st.binary(min_size=1, max_size=24))
    for to in LIMITS:
        if not refused(raw, to):
            assert encode(decode(raw, to)) == raw


@given(st.integers(0, 2), st.integers(1, 2**23 - 1), st.booleans(), st.lists(st.floats(width=32, allow_nan=False,
       allow_infinity=False), max_size=8), st.data())
def test_no_value_that_is_not_finite_passes(way: int, payload: int, minus: bool, others: list[float],
                                            data: st.DataObject) -> None:
    word = 0x7F800000 | minus << 31 | (0 if way == 0 else payload)
    place = data.draw(st.integers(0, len(others)))
    packed = [struct.pack("<f", value) for value in others]
    packed.insert(place, struct.pack("<I", word))
    raw = b"".join(packed)
    assert refused(with_body("patch", raw, (1, len(packed)))) == "values"
    with pytest.raises(Refusal, match=f"value {place} is"):
        encode(Message("patch", "atlas", shape=(1, len(packed)), dtype="f32", values=raw))


def test_what_is_too_long_is_refused_before_it_is_read() -> None:
    layer = encode(Message("patch", "disk", shape=(128, 128), dtype="f32", values=bytes(65536)))
    assert refused(layer) == ""
    assert refused(layer, max_bytes=len(layer) - 1) == "size"
    assert refused(bytes(MAX_BYTES + 8)) == "size"
    with pytest.raises(Refusal, match="limit"):
        decode_all(bytes(MAX_BYTES + 8), "server")
    with pytest.raises(Refusal) as found:
        encode(Message("patch", "disk", shape=(1024, 1024), dtype="f32", values=bytes(4 << 20)))
    assert found.value.code == "shape"


def test_a_batch_is_refused_whole() -> None:
    good = encode(Message("ack", sequence=1))
    with pytest.raises(Refusal) as found:
        decode_all(good + good[:-1], "server")
    assert found.value.code == "size"
    assert decode_all(b"", "server") == []
    assert refused(b"") == "size"


def test_whole_numbers_are_judged_by_the_double_that_they_round_to() -> None:
    edge = int(sys.float_info.max) + 2**970  # half way from the largest double to 2^1024
    for number, code in ((edge - 1, ""), (edge, "text")):
        raw = b'{"a":%d}' % number
        assert refused(with_body("command", raw, (len(raw),))) == code


def test_texts_too_deep_or_too_wild_for_the_parser() -> None:
    for raw in (DEEP, b'{"a":' + b"[" * 100_000, b'{"a":' + b"9" * 5000 + b"}"):
        assert refused(with_body("command", raw, (len(raw),))) == "text"
    for content in ({"a": math.nan}, {"a": {1, 2}}, {"a": "\ud800"}):
        with pytest.raises(Refusal) as found:
            text("command", content)
        assert found.value.code == "text"
    loop: dict[str, Any] = {}
    loop["loop"] = loop
    with pytest.raises(Refusal):
        text("command", loop)


@pytest.mark.parametrize(("change", "code"), [
    ({"kind": "brush"}, "kind"), ({"chart": "none"}, "chart"), ({"dtype": "f64"}, "dtype"),
    ({"values": memoryview(array("i", [1, 2]))}, "dtype"), ({"shape": (2,)}, "shape"), ({"shape": (2**32, 0)}, "shape"),
    ({"shape": (-1, -2)}, "shape"), ({"values": b"1234"}, "size"), ({"sequence": 2**53}, "header"),
    ({"sequence": -1}, "header"), ({"depth": 2**32}, "header"), ({"time": math.nan}, "header"),
    ({"coherence": -1.0}, "header"), ({"frame": "ab"}, "header"), ({"frame": "x" * 64}, "header"),
    ({"frame": "AB" * 32}, "header"), ({"values": struct.pack("<2f", 1, math.inf)}, "values")])
def test_encoding_refuses_what_decoding_would(change: dict[str, Any], code: str) -> None:
    fields: dict[str, Any] = {"kind": "patch", "chart": "atlas", "shape": (1, 2), "dtype": "f32", "values": bytes(8)}
    encode(Message(**fields))
    with pytest.raises(Refusal) as found:
        encode(Message(**fields | change))
    assert found.value.code == code


def test_numpy_goes_in_and_comes_out_with_its_frame() -> None:
    field = np.arange(48, dtype=np.float32).reshape(4, 3, 4)[:, :, ::2]
    frame = ZFrame.octaves().signature()
    message = decode(encode(Message("field", "state", 1, field.shape, "f32", field.data, frame=frame)), "browser")
    assert message.frame == frame
    np.testing.assert_array_equal(np.asarray(message.values).reshape(message.shape), field)


def test_decoded_values_cannot_be_written_through() -> None:
    data = bytearray(encode(Message("file", shape=(3,), values=b"abc")))
    values = decode(data, "browser").values
    assert isinstance(values, memoryview)
    assert values.readonly
