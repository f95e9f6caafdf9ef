"""Frames as fast as a page takes them, over the workbench's own channel; served beside it by `tests.bench.frames`.

The session is the least there can be: it answers "go" and sends a batch whenever fewer than two wait for their
acknowledgement. Component, codec, socket, guard and page script are those of the workbench.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import panel as pn
from panel.custom import JSComponent

from canvas.codec import Message, decode, encode, text
from tests.bench.frames_app.frame import IN_FLIGHT, Frames


class Link(JSComponent):
    """The browser's half counts what `Channel` hands over; `Channel` acknowledges each batch itself."""

    _esm = """
export async function render({model}) {
  const {Channel} = await import(new URL("workbench/static/channel.js", document.baseURI).href)
  const seen = window.frames_seen = {count: 0, bytes: 0, wrong: 0, last: 0}
  const take = ([said, frame], size) => {
    const words = new Uint32Array(frame.values.buffer, frame.values.byteOffset, frame.values.length)
    let sum = 0
    for (let i = 0; i < words.length; i++) sum = (sum + words[i]) | 0
    const {counter, checksum} = said.json
    if (sum >>> 0 !== checksum || frame.values[0] !== counter || counter !== seen.last + 1) seen.wrong++
    seen.last = counter
    seen.count++
    seen.bytes += size
  }
  const channel = new Channel(model, {onBatch: take, onLost: () => { seen.wrong++ }})
  channel.ask("go")
  return document.createElement("span")
}
"""
    _render_policy = "manual"

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.frames, self.waiting = Frames(), set[int]()

    def _handle_msg(self, data: Any) -> None:
        message = decode(data, "server")
        if message.kind == "ack":
            self.waiting.remove(message.sequence)
        else:
            self._send_msg(encode(text("text", {"type": "reply", "to": message.sequence, "ok": True})))
        while len(self.waiting) < IN_FLIGHT:
            values, checksum = self.frames.next()
            counter = self.frames.counter
            said = {"type": "status", "counter": counter, "checksum": checksum}
            frame = Message("field", "state", counter, values.shape, "f32", np.ascontiguousarray(values).data.cast("B"))
            self.waiting.add(counter)
            self._send_msg(encode(text("text", said, counter)) + encode(frame))


pn.extension()
template = pn.Template("{% extends base %}{% block contents %}{{ embed(roots.link) }}{% endblock %}")
template.add_panel("link", Link())
template.servable()
