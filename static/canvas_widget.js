// The canvas in a notebook: a layer that is painted on, over the field that a run or Python shows, and every layer in Python.
import {el, whole} from "./dom.js"
import {power, ranges} from "./field.js"
import {tables} from "./palettes.js"
import {Surface} from "./surface.js"
import {Card, Chart, choice, pairs} from "./widget.js"

const PAUSE = 50 // ms between two layers sent: 20 a second

export function render({model, el: host}) {
  const widget = new CanvasWidget(model, host)
  widget.begin()
  return () => widget.close()
}

class CanvasWidget extends Card {
  constructor(model, host) {
    super(model, host, "Canvas")
    this.kernels = model.get("_kernels")
    this.sign = 1
    this.acknowledged = 0
    this.pointer = null // that paints: the first that comes down, others wait
    this.state = el("span", {class: "num quiet", role: "status"})
    this.backend = el("span", {class: "quiet"})
    this.readout = el("div", {class: "readout num", "aria-live": "polite"})
    this.chart = new Chart("Canvas: arrow keys move the cell, Enter stamps the brush there", {onCell: () => this.read(), onEnter: (cell) => this.stamp(cell)})
    this.size = slider("size", "Radius of the brush in turns", {min: 0.02, max: 0.2, step: 0.01, value: 0.06})
    this.strength = slider("strength", "log2 gain of a click, share of an eraser's", {min: 0.25, max: 3, step: 0.25, value: 1.5})
    this.turn = button("+ amplify", "Amplify or attenuate what is painted", () => {
      this.sign = -this.sign
      this.turn.textContent = this.sign > 0 ? "+ amplify" : "− attenuate"
    })
    this.card.append(
      el("header", {}, this.title, el("span", {class: "fill"}), this.state), this.notice, this.chart.root,
      el("div", {class: "tools", role: "toolbar", "aria-label": "brush"},
        choice("tool", [["brush", "Brush"], ["erase", "Erase"]], (tool) => { this.tool = tool }), this.turn, this.size, this.strength,
        button("Undo", "Take the last stroke back", () => this.back("undo")),
        button("Redo", "Paint the stroke taken back again", () => this.back("redo")),
        button("Clear", "Wipe the layer", () => this.clear()),
        el("span", {class: "fill"}), this.backend),
      this.readout)
    const canvas = this.chart.canvas
    canvas.addEventListener("pointerdown", (event) => this.down(event))
    canvas.addEventListener("pointermove", (event) => this.move(event))
    canvas.addEventListener("pointerup", (event) => this.up(event))
    canvas.addEventListener("pointercancel", (event) => { if (event.pointerId === this.pointer) this.cancel() })
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
    this.read()
  }

  tell() {
    const {backend, reason} = this.surface
    this.backend.textContent = backend === "webgpu" ? "WebGPU" : `2-D: ${reason}`
  }

  // a layer from elsewhere; what is just being painted here is newer
  takeLayer(seq, values) {
    if (seq <= this.acknowledged || this.sending || this.pointer !== null) return
    this.acknowledged = seq
    this.layer = values.slice() // of a batch only what is kept is held on to
    this.surface.setRelation(this.layer)
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
    return tables(this.css("--paper"), this.css("--accent"))
  }

  themed() {
    this.surface?.setTables(this.colours())
  }

  read() {
    if (!this.facts) return
    const {band, sheet} = this.chart.cell, {sheets} = this.chart.size, painted = this.layer?.[band * sheets + sheet] ?? 0
    this.readout.replaceChildren(...pairs(["band", this.chart.bandNames[band]], ["phase", this.chart.phase(sheet)], ["painted gain", `× ${(2 ** painted).toFixed(2)}`]))
  }

  // --- strokes ---

  brush() {
    const erase = this.tool === "erase", strength = this.strength.value
    return {tool: "brush", size: this.size.value, strength: erase ? Math.min(strength / 3, 1) : strength, sign: this.sign, erase}
  }

  // a point of a stroke, with a pen's pressure
  place(event) {
    return [...this.surface.place(event), Math.round(event.timeStamp), event.pointerType === "pen" ? event.pressure : 1]
  }

  down(event) {
    if (event.button !== 0 || !this.surface || this.pointer !== null) return
    event.preventDefault()
    this.chart.face.focus({preventScroll: true})
    this.chart.canvas.setPointerCapture(event.pointerId)
    this.pointer = event.pointerId
    this.surface.begin(this.brush())
    this.surface.extend([this.place(event)])
    this.send()
  }

  move(event) {
    if (event.pointerId !== this.pointer) return
    this.surface.extend([...(event.getCoalescedEvents?.() ?? []), event].map((e) => this.place(e)))
    this.send()
  }

  up(event) {
    if (event.pointerId !== this.pointer) return
    this.pointer = null
    this.surface.end()
    this.send()
  }

  // an open stroke leaves nothing
  cancel() {
    if (this.pointer === null) return
    this.pointer = null
    this.surface.cancel()
    this.send()
  }

  back(way) {
    this.cancel()
    if (this.surface?.[way]()) this.send()
  }

  clear() {
    if (!this.surface) return
    this.cancel()
    this.surface.clear()
    this.send()
  }

  // a click of the brush at the chosen cell, for the keyboard
  stamp({band, sheet}) {
    if (!this.surface || this.pointer !== null) return
    const {bands, sheets} = this.chart.size
    this.surface.stroke([[(sheet + 0.5) / sheets, (band + 0.5) / bands]], this.brush())
    this.send()
  }

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

const button = (word, title, onclick) => el("button", {type: "button", class: "toggle", title, onclick}, word)

function slider(word, title, limits) {
  const input = el("input", {type: "range", ...limits})
  const label = el("label", {title}, word, input)
  Object.defineProperty(label, "value", {get: () => Number(input.value)})
  return label
}
