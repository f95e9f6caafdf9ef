// The canvas in a notebook: a layer that is painted on, over the field that a run or Python shows, and every layer in Python.
import {el, whole} from "./dom.js"
import {power, ranges} from "./field.js"
import {layered} from "./palettes.js"
import {Surface} from "./surface.js"
import {Tools} from "./tools.js"
import {Card, Chart, pairs} from "./widget.js"

const PAUSE = 50 // ms between two layers sent: 20 a second
const TOOLS = {
  brush: "Paint where the pointer goes (B)", line: "Paint a line from where you press to where you let go (I)",
  stamp: "Paint one level square where you let go; snapped to cells, whole cells (Q)", lasso: "Fill what you draw around (O)",
}
const LAYERS = {measured: "The measured field, under the paint (5)", painted: "What is painted (6)"}
const MODES = {more: ["Amplify", "Paint gains above 1"], less: ["Attenuate", "Paint gains below 1 (X)"], erase: ["Erase", "Back to neutral (E)"]}

export function render({model, el: host}) {
  const widget = new CanvasWidget(model, host)
  widget.begin()
  return () => widget.close()
}

class CanvasWidget extends Card {
  constructor(model, host) {
    super(model, host, "Canvas")
    this.kernels = model.get("_kernels")
    this.acknowledged = 0
    this.state = el("span", {class: "num quiet", role: "status"})
    this.backend = el("span", {class: "quiet"})
    this.readout = el("div", {class: "readout num"})
    this.chart = new Chart("Canvas: arrow keys move the spot, Enter uses the tool in hand there", {
      onCell: () => this.read(), open: () => this.tools.path,
      onKey: () => { this.tools.moved(); this.tools.say(this.readout.textContent) }})
    const parts = this.parts = {
      says: el("div", {class: "unseen", "aria-live": "polite"}), ghost: this.chart.ghost,
      size: slider("size", {min: 0.02, max: 0.2, step: 0.01, value: 0.06}), strength: slider("strength", {min: 0.25, max: 3, step: 0.25, value: 1.5}),
      hardness: slider("hardness", {min: 0, max: 0.9, step: 0.1, value: 0}),
      mirror: button("Mirror", {title: "Repeat every stroke at the opposite phase: 45° at 315° (M)", "aria-pressed": "false"}),
      snap: button("Snap", {title: "Snap to cells (A)", "aria-pressed": "false"}),
      undo: button("Undo", {title: "Take the last stroke back (U)"}), redo: button("Redo", {title: "Do it again (Y)"}), clear: button("Clear", {title: "Wipe the layer (C)"}),
    }
    const label = (word, title, input) => el("label", {title}, word, input)
    this.card.append(
      el("header", {}, this.title, el("span", {class: "fill"}), this.backend, this.state), this.notice, this.chart.root,
      el("div", {class: "tools", role: "toolbar", "aria-label": "painting"},
        segments("tool", Object.entries(TOOLS).map(([name, title]) => el("button", {type: "button", "data-tool": name, title}, name[0].toUpperCase() + name.slice(1)))),
        segments("what it does", Object.entries(MODES).map(([name, [word, title]]) => el("button", {type: "button", "data-mode": name, title}, word))),
        label("size", "Radius of the brush, in turns ([ ])", parts.size), label("strength", "log2 gain of a click, share of an eraser's; a pen's pressure scales it (, .)", parts.strength),
        label("hard", "How much of the brush is level before it falls off ({ })", parts.hardness),
        parts.mirror, parts.snap, parts.undo, parts.redo, parts.clear,
        segments("layers shown", Object.entries(LAYERS).map(([name, title]) => el("button", {type: "button", "data-layer": name, "aria-pressed": "true", title}, name)))),
      this.readout, parts.says)
    this.tools = new Tools(this.hand(), this.chart, {root: this.card, part: (name) => parts[name], canvas: this.chart.canvas, face: this.chart.face})
    this.tools.listen(this.card)
    this.tools.turn("more")
    this.tools.choose("brush")
    this.tools.count()
    for (const name of ["focus", "blur"]) this.chart.face.addEventListener(name, () => this.tools.ghost())
  }

  // what the tools want of whom they paint for
  hand() {
    const widget = this
    return {
      get surface() { return widget.surface },
      get shown() { return Boolean(widget.surface) },
      get focused() { return widget.chart.face.matches(":focus-visible") },
      take() {}, // they are always in hand
      feed: () => this.chart.drawLines(),
      dress: () => this.themed(),
      send: () => this.send(),
    }
  }

  // --- what Python says ---

  take(messages) {
    for (const [i, {kind, json, shape, values}] of messages.entries()) {
      if (kind === "field") this.field = {rho: values.slice(), size: {echoes: shape[2]}}
      else if (json?.type === "status") this.heed(json)
      else if (json?.type === "facts") this.open(json)
      else if (json?.type === "layer") this.takeLayer(json.seq, messages[i + 1].values)
      else if (json?.type === "problem") this.complain(json.reason)
    }
    this.wake()
  }

  // the surface is made once; a view that says hello makes Python say all of it again
  open(facts) {
    this.title.textContent = facts.title ?? "Canvas"
    if (this.facts) return
    this.facts = facts
    this.chart.begin(facts.frame)
    const {bands, sheets} = this.chart.size
    this.surface = new Surface(this.chart.canvas, {kernels: this.kernels, bands, sheets, tables: this.colours()})
    this.surface.addEventListener("backend", () => this.tell())
    this.tools.count()
    this.read()
  }

  tell() {
    const {backend, reason} = this.surface
    this.backend.textContent = backend === "webgpu" ? "WebGPU" : `2-D: ${reason}`
  }

  // a layer from elsewhere; what is just being painted here is newer
  takeLayer(seq, values) {
    if (seq <= this.acknowledged || this.sending || this.tools.path) return
    this.acknowledged = seq
    this.layer = values.slice() // of a batch only what is kept is held on to
    this.surface.setRelation(this.layer)
    this.tools.count()
    this.read()
    this.sayInForce()
  }

  heed(status) {
    this.status = status
    this.sayInForce()
  }

  sayInForce() {
    if (this.sending || !this.status) return
    const {run, state, force} = this.status
    if (!run) this.state.textContent = this.acknowledged ? `layer ${this.acknowledged}` : ""
    else if (force && force.seq >= this.acknowledged) this.state.textContent = `${state}, step ${whole(this.status.step)}; input ${force.seq} in force from step ${whole(force.step)}`
    else this.state.textContent = `${state}, step ${whole(this.status.step)}` + (this.acknowledged ? `; input ${this.acknowledged} acknowledged` : "")
  }

  // --- drawing ---

  draw() {
    if (!this.surface || !this.field) return
    const {rho, size} = this.field
    this.surface.setField(power(rho, size), [0, ranges(rho, size).power])
    this.read()
  }

  colours() {
    return layered((name) => this.css(name), this.tools.layers)
  }

  themed() {
    this.surface?.setTables(this.colours())
  }

  read() {
    if (!this.facts) return
    const {band, sheet} = this.chart.cursor, {sheets} = this.chart.size, painted = this.layer?.[band * sheets + sheet] ?? 0
    this.readout.replaceChildren(...pairs(["band", this.chart.bandNames[band]], ["phase", this.chart.phase(sheet)], ["painted gain", `× ${(2 ** painted).toFixed(2)}`]))
  }

  // --- strokes ---

  // the newest layer goes out, one in flight; what Python does not take stays on the canvas
  async send() {
    this.fresh = true
    if (this.sending) return
    this.sending = true
    this.state.textContent = "sending"
    const {bands, sheets} = this.chart.size
    try {
      while (this.fresh) {
        this.fresh = false
        this.layer = await this.surface.relation()
        const {seq} = await this.channel.paint({chart: "atlas", shape: [bands, sheets], values: this.layer, depth: this.surface.depth, frame: this.facts.signature})
        this.acknowledged = seq
        this.read()
        await new Promise((resolve) => setTimeout(resolve, PAUSE))
      }
      this.complain(null)
    } catch (error) {
      this.complain(`Not sent: ${error.message}`)
    } finally {
      this.sending = false
      this.sayInForce()
    }
  }

  close() {
    super.close()
    this.surface?.release()
  }
}

const button = (word, attributes) => el("button", {type: "button", class: "toggle", ...attributes}, word)
const slider = (name, limits) => el("input", {type: "range", "aria-label": name, ...limits})
const segments = (label, buttons) => el("div", {class: "segments", role: "group", "aria-label": label}, ...buttons)
