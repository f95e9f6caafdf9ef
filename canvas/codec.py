"""The wire format: one versioned binary message each way, the same bytes in Python, Pyodide and JavaScript.

A message is a header of 88 bytes, then its values, then zeros up to a multiple of 8 bytes, so that messages laid end to
end form a batch whose values stay aligned. Everything is little-endian, as every machine is that runs this.

====== ===== =========== ===============================================================================
offset type  field       meaning
====== ===== =========== ===============================================================================
0      4s    magic       ``ZSPC``
4      u8    version     1
5      u8    kind        `KINDS`
6      u8    dtype       `DTYPES`
7      u8    ndim        1 to 4
8      u16   chart       `CHARTS`
10     u16   reserved    0
12     u32   depth       strokes so far
16     u64   sequence    below 2^53, JavaScript's whole numbers
24     f64   time        Unix seconds
32     f64   coherence   a patch's trust, 0 elsewhere
40     32s   frame       the bytes of the frame's signature, zeros for none
72     4xu32 shape       unused entries 0; a size may be 0
====== ===== =========== ===============================================================================

Standard library only. ``static/codec.js`` is the same in JavaScript, check for check and in the same order;
``tests/canvas/vectors.json`` holds both to the same bytes and the same refusals.
"""

from __future__ import annotations

import json
import math
import struct
import sys
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

MAGIC = b"ZSPC"
VERSION = 1
HEADER = struct.Struct("<4s4BHHIQdd32s4I")
MAX_BYTES = 1 << 20  # what a page may send at once; the disk chart's layer takes 64 KiB
LIMITS = {"server": MAX_BYTES, "browser": 16 << 20}  # by the side that receives; at 20 MiB the websocket just closes
MAX_DEPTH = 16  # containers inside containers in a text
MAX_SEQUENCE = 2**53

CODES = ("type", "size", "magic", "version", "kind", "chart", "dtype", "shape", "header", "values", "text",
         "sequence", "frame", "rate", "command")  # the last four are the session's, which knows what came before
CHARTS = {"none": 0, "atlas": 1, "disk": 2, "state": 3, "gradient": 4, "train": 5, "validation": 6, "looks": 7}
DTYPES = {"u8": 1, "i32": 2, "f32": 3, "f64": 4}
# as struct and memoryview write them
FORMATS: dict[str, Literal["B", "i", "f", "d"]] = {"u8": "B", "i32": "i", "f32": "f", "f64": "d"}


class Rule(NamedTuple):
    """What one kind of message may be."""

    code: int
    to: str
    charts: tuple[str, ...]
    dtype: str
    ndim: int
    holds: str  # "numbers" (finite), "json" (one object), "bytes" or "nothing"


KINDS = {
    "field": Rule(1, "browser", ("state", "gradient"), "f32", 3, "numbers"),
    "series": Rule(2, "browser", ("train", "validation", "looks"), "f64", 2, "numbers"),
    "text": Rule(3, "browser", ("none",), "u8", 1, "json"),
    "file": Rule(4, "browser", ("none",), "u8", 1, "bytes"),
    "layers": Rule(5, "browser", ("atlas",), "f32", 3, "numbers"),  # these two belong to the text before them
    "image": Rule(6, "browser", ("atlas",), "u8", 3, "bytes"),
    "command": Rule(16, "server", ("none",), "u8", 1, "json"),
    "ack": Rule(17, "server", ("none",), "u8", 1, "nothing"),
    "patch": Rule(18, "server", ("atlas", "disk"), "f32", 2, "numbers"),
}
_KIND_OF = {to: {rule.code: name for name, rule in KINDS.items() if rule.to == to} for to in LIMITS}
_CHART_OF = {code: name for name, code in CHARTS.items()}
_DTYPE_OF = {code: name for name, code in DTYPES.items()}


class Refusal(ValueError):  # noqa: N818 - a message is refused; nothing of ours erred
    """A message that is not taken.

    Parameters
    ----------
    code : str
        One of `CODES`.
    reason : str
        One sentence for the user: the value, the limit and the remedy.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True)
class Message:
    """One message; the defaults are those of an empty one, such as an acknowledgement.

    Parameters
    ----------
    kind, chart, dtype : str
        Keys of `KINDS`, `CHARTS` and `DTYPES`.
    sequence : int
        Its number; for an acknowledgement that of the batch it answers.
    shape : tuple of int
        Sizes of the values, last one fastest.
    values : bytes, bytearray or memoryview
        Of as many bytes as shape and dtype say. A decoded message has a read-only memoryview of the data it came in,
        in its dtype and flat.
    depth : int
        Strokes so far, of a patch.
    time : float
        Unix seconds.
    coherence : float
        A patch's trust, 0 elsewhere.
    frame : str
        Signature of the frame that the values belong to, or "".
    """

    kind: str
    chart: str = "none"
    sequence: int = 0
    shape: tuple[int, ...] = (0,)
    dtype: str = "u8"
    values: bytes | bytearray | memoryview[Any] = b""
    depth: int = 0
    time: float = 0.0
    coherence: float = 0.0
    frame: str = ""

    def json(self) -> dict[str, Any]:
        """The object that a text or a command holds."""
        return _parse(self.values)


def text(kind: str, content: dict[str, Any], sequence: int = 0) -> Message:
    """A message that holds one JSON object.

    Raises
    ------
    Refusal
        What JSON cannot say, NaN and infinity included.
    """
    try:
        raw = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise Refusal("text", f"{kind} cannot be written as JSON: {error}; send finite numbers and text") from error
    return Message(kind, sequence=sequence, shape=(len(raw),), values=raw)


def encode(message: Message) -> bytes:
    """The bytes of a message.

    Raises
    ------
    Refusal
        A message that `decode` would refuse.
    """
    if message.kind not in KINDS:
        raise Refusal("kind", f"kind is {message.kind!r}: use one of {', '.join(KINDS)}")
    given = memoryview(message.values)
    expected = _measure(message.kind, message.chart, message.dtype, message.shape,
                        LIMITS[KINDS[message.kind].to])
    if given.format not in ("B", FORMATS[message.dtype]):
        raise Refusal("dtype", f"values have format {given.format!r}: {message.dtype} needs "
                               f"{FORMATS[message.dtype]!r}, or raw bytes")
    if given.nbytes != expected:
        raise Refusal("size", f"values have {given.nbytes} bytes: {message.dtype} of shape {message.shape} needs "
                              f"{expected}; send as many")
    raw = given.tobytes()  # in C order, whatever the strides
    _check(message, memoryview(raw))
    head = HEADER.pack(MAGIC, VERSION, KINDS[message.kind].code, DTYPES[message.dtype], len(message.shape),
                       CHARTS[message.chart], 0, message.depth, message.sequence, message.time, message.coherence,
                       _signature(message.frame), *message.shape, *(0,) * (4 - len(message.shape)))
    return b"".join((head, raw, bytes(-len(raw) % 8)))


def decode(data: object, to: str, max_bytes: int | None = None) -> Message:
    """The one message that data holds, from its start to its end.

    Parameters
    ----------
    data : bytes, bytearray or memoryview
        What came in; anything else is refused, not an error.
    to : {"browser", "server"}
        The side that decodes.
    max_bytes : int, optional
        Longest data that is looked at; `LIMITS` of that side unless given.

    Raises
    ------
    Refusal
        The first check that fails, cheap ones first.
    """
    limit = LIMITS[to] if max_bytes is None else max_bytes
    message, _ = _read(_view(data, limit), to, limit, alone=True)
    return message


def decode_all(data: object, to: str) -> list[Message]:
    """The messages of a batch, laid end to end; one bad message refuses the batch.

    Parameters
    ----------
    data : bytes, bytearray or memoryview
        At most `LIMITS` of that side.
    to : {"browser", "server"}
        The side that decodes.
    """
    view = _view(data, LIMITS[to])
    messages = []
    while view:
        message, length = _read(view, to, LIMITS[to], alone=False)
        messages.append(message)
        view = view[length:]
    return messages


def _view(data: object, limit: int) -> memoryview:
    """The data as plain read-only bytes."""
    if not isinstance(data, bytes | bytearray | memoryview):
        raise Refusal("type", f"data is of type {type(data).__name__}: send the message as one binary buffer")
    view = memoryview(data)
    if view.nbytes > limit:
        raise Refusal("size", f"data has {view.nbytes} bytes: the limit is {limit}; send less at once")
    # empty views have no single way to be cast, strided ones none at all
    return (view.cast("B") if view.nbytes and view.c_contiguous else memoryview(view.tobytes())).toreadonly()


def _read(view: memoryview, to: str, limit: int, alone: bool) -> tuple[Message, int]:
    """The message at the start of the view and its length; alone: it must fill the view."""
    if len(view) < HEADER.size:
        raise Refusal("size", f"{len(view)} bytes are left: a header has {HEADER.size}; send whole messages")
    (magic, version, kind_code, dtype_code, ndim, chart_code, reserved, depth, sequence, time, coherence, frame,
     *sizes) = HEADER.unpack_from(view)
    if magic != MAGIC:
        raise Refusal("magic", f"magic is {magic!r}: this format begins with {MAGIC!r}; send nothing else here")
    if version != VERSION:
        raise Refusal("version", f"version is {version}: this side speaks {VERSION}; reload the page")
    kind = _KIND_OF[to].get(kind_code)
    if kind is None:
        raise Refusal("kind", f"kind is {kind_code}: the {to} takes {', '.join(_KIND_OF[to].values())}; send those")
    if not 1 <= ndim <= 4 or any(sizes[ndim:]):
        raise Refusal("shape", f"shape is {sizes} with ndim {ndim}: ndim goes from 1 to 4 and unused sizes are 0")
    chart, dtype = _CHART_OF.get(chart_code, str(chart_code)), _DTYPE_OF.get(dtype_code, str(dtype_code))
    shape = tuple(sizes[:ndim])
    end = HEADER.size + _measure(kind, chart, dtype, shape, limit)
    length = end + -end % 8
    if length > len(view) or (alone and length < len(view)):
        raise Refusal("size", f"data has {len(view)} bytes: {dtype} of shape {shape} needs {length}; send exactly that")
    if reserved or any(view[end:length]):
        raise Refusal("header", f"reserved is {reserved} and the padding {bytes(view[end:length])!r}: both must be 0")
    raw = view[HEADER.size:end]
    message = Message(kind, chart, sequence, shape, dtype, raw.cast(FORMATS[dtype]), depth, time, coherence,
                      frame.hex() if any(frame) else "")
    _check(message, raw)
    return message, length


def _measure(kind: str, chart: str, dtype: str, shape: tuple[int, ...], limit: int) -> int:
    """Bytes of the values, once the kind allows chart, dtype and shape."""
    rule = KINDS[kind]
    if chart not in rule.charts:
        raise Refusal("chart", f"chart is {chart}: {kind} takes {' or '.join(rule.charts)}; send it there")
    if dtype != rule.dtype:
        raise Refusal("dtype", f"dtype is {dtype}: {kind} takes {rule.dtype}; convert the values")
    if len(shape) != rule.ndim or not all(0 <= size < 2**32 for size in shape):
        raise Refusal("shape", f"shape is {shape}: {kind} takes {rule.ndim} sizes of 32 bits; reshape the values")
    count = math.prod(shape) * struct.calcsize(FORMATS[dtype])
    room = 0 if rule.holds == "nothing" else limit - HEADER.size
    if count > room:
        raise Refusal("shape", f"shape {shape} takes {count} bytes: the limit for {kind} is {room}; send less")
    return count


def _check(message: Message, raw: memoryview) -> None:
    """Refuse numbers out of range in the header, then values that the kind does not hold."""
    rule = KINDS[message.kind]
    if not 0 <= message.sequence < MAX_SEQUENCE or not 0 <= message.depth < 2**32:
        raise Refusal("header", f"sequence is {message.sequence} and depth {message.depth}: they count from 0 to below "
                                "2^53 and 2^32; begin a new session")
    if not 0 <= message.time < math.inf:
        raise Refusal("header", f"time is {message.time}: send finite Unix seconds from 0 on")
    if not 0 <= message.coherence < math.inf or (message.coherence and message.kind != "patch"):
        raise Refusal("header", f"coherence is {message.coherence} on {message.kind}: send a finite trust from 0 on "
                                "with a patch, 0 with the rest")
    if rule.holds == "numbers":
        _finite(raw, message.dtype)
    elif rule.holds == "json":
        _parse(raw)


def _signature(frame: str) -> bytes:
    """The 32 bytes of a frame signature."""
    if not frame:
        return bytes(32)
    try:
        raw = bytes.fromhex(frame)
    except ValueError:
        raw = b""
    if len(raw) != 32 or raw.hex() != frame:  # fromhex takes capitals and spaces too
        raise Refusal("header", f"frame is {frame!r}: a signature has 64 small hex digits; use "
                                "ZFrame.signature() or ''")
    return raw


def _finite(raw: memoryview, dtype: str) -> None:
    """Refuse NaN and infinity."""
    size = struct.calcsize(FORMATS[dtype])
    tops = raw.tobytes()[size - 1::size]  # each value's sign and seven bits of exponent
    if 0x7F not in tops and 0xFF not in tops:  # then nothing is beyond 2^127: one fast scan clears most layers
        return
    values = raw.cast(FORMATS[dtype])
    if not all(map(math.isfinite, values)):
        place, value = next((i, v) for i, v in enumerate(values) if not math.isfinite(v))
        raise Refusal("values", f"value {place} is {value}: {dtype} values must be finite; replace it")


def _parse(raw: bytes | bytearray | memoryview[Any]) -> dict[str, Any]:
    """The JSON object in UTF-8 bytes."""
    try:
        found = json.loads(str(raw, "utf-8"), parse_constant=_no_number)
    except RecursionError:
        raise Refusal("text", f"text nests too deep to read: the limit is {MAX_DEPTH} levels; flatten it") from None
    except ValueError as error:
        raise Refusal("text", f"text is not JSON in UTF-8: {error}; send one JSON object") from None
    if not isinstance(found, dict):
        raise Refusal("text", f"text is a JSON {type(found).__name__}: send one JSON object")
    level: list[Any] = [found]
    for _ in range(MAX_DEPTH):
        inside = [item for node in level for item in (node.values() if isinstance(node, dict) else node)]
        if any(isinstance(item, int | float) and not _is_finite(item) for item in inside):
            raise Refusal("text", f"text holds a number beyond {sys.float_info.max}: send finite numbers")
        level = [item for item in inside if isinstance(item, dict | list)]
        if not level:
            return found
    raise Refusal("text", f"text nests deeper than {MAX_DEPTH} levels: flatten it")


def _no_number(name: str) -> None:
    """Refuse NaN and Infinity by name: Python's parser takes them, JavaScript's does not."""
    raise ValueError(f"{name} is no JSON number")


def _is_finite(value: float) -> bool:
    """Whether it is, once rounded to a double as JavaScript does with whole numbers too."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
