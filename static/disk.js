// The disk on Generate: the run's symbols where its model puts them, and paint under them as a desire.
import {$, fixed, toast, whole} from "./dom.js"
import {signed, table} from "./palettes.js"

const SIDE = 128 // cells along an edge of the painting, over the square around the disk; row 0 is at the top
const PAUSE = 100 // ms between two paintings sent
const UNDO = 50
const BLANK = {" ": "␣", "\n": "↵", "\t": "⇥"}
const STEP = 1 / 16 // that an arrow key moves the cursor by, of the radius

export const glyph = (symbol) => BLANK[symbol] ?? (/^[\p{C}\p{Z}]$/u.test(symbol) ? `U+${symbol.codePointAt(0).toString(16).toUpperCase()}` : symbol)

// length of the geodesic between two points of the disk (Nickel & Kiela 2017, equation 1)
function apart([ax, ay], [bx, by]) {
  const gap = (ax - bx) ** 2 + (ay - by) ** 2
  return Math.acosh(1 + (2 * gap) / ((1 - ax * ax - ay * ay) * (1 - bx * bx - by * by)))
}

export class Disk {
  constructor(channel) {
    this.channel = channel
    this.canvas = $("disk")
    this.tool = "want"
    this.cursor = [0, 0]
    this.layers = {measured: true, painted: true, effect: false}
    this.forget()
    for (const button of document.querySelectorAll("[data-disk]")) button.addEventListener("click", () => this.choose(button.dataset.disk))
    for (const button of document.querySelectorAll("[data-disk-layer]")) button.addEventListener("click", () => this.toggle(button.dataset.diskLayer))
    $("disk-undo").addEventListener("click", () => this.undo())
    $("disk-clear").addEventListener("click", () => this.clear())
    $("disk-renew").addEventListener("click", () => this.open(true))
    this.canvas.addEventListener("pointerdown", (event) => {
      if (event.button || !this.places.length) return
      this.canvas.setPointerCapture(event.pointerId)
      this.keep()
      this.at = this.point(event)
      this.dab(this.at)
    })
    this.canvas.addEventListener("pointermove", (event) => {
      const to = this.point(event)
      if (this.at) this.line(to)
      else this.look(to)
    })
    for (const name of ["pointerup", "pointercancel"]) this.canvas.addEventListener(name, () => { this.at = null })
    this.canvas.addEventListener("keydown", (event) => this.key(event))
    this.canvas.addEventListener("blur", () => this.draw())
    new ResizeObserver(() => this.draw()).observe(this.canvas)
  }

  forget() {
    this.painting = new Float32Array(SIDE * SIDE)
    this.past = []
    this.symbols = []
    this.places = []
    this.scores = []
    this.run = null
    $("disk-step").textContent = ""
    this.say("")
    this.draw()
  }

  get painted() { return this.places.length > 0 && this.painting.some((v) => v) }

  // --- the run ---

  // the symbols of the run shown, once; `renew` looks at its newest checkpoint
  async open(renew = false) {
    if (!this.facts || (!renew && this.run === this.facts.run)) return
    const run = this.facts.run
    try {
      const found = await this.channel.ask("disk", renew && this.run === run ? {renew: true} : {})
      if (this.facts.run !== run) return
      this.run = run
      ;[this.symbols, this.places] = [found.symbols, found.places]
      $("disk-step").textContent = `step ${whole(found.step)}`
      this.say("Paint under what you want; hover for what is there.")
      if (this.painted) this.send()
    } catch (error) {
      this.say(error.message)
    }
    this.show()
  }

  begin(facts) {
    if (this.facts?.run !== facts.run) this.forget()
    this.facts = facts
    if (!$("page-generate").hidden) this.open()
  }

  show() {
    for (const node of document.querySelectorAll("[data-disk], [data-disk-tool]")) node.disabled = !this.places.length
    this.draw()
  }

  // --- painting ---

  choose(tool) {
    this.tool = tool
    for (const button of document.querySelectorAll("[data-disk]")) button.setAttribute("aria-pressed", button.dataset.disk === tool)
  }

  keep() {
    this.past.push(this.painting.slice())
    if (this.past.length > UNDO) this.past.shift()
  }

  undo() {
    if (!this.past.length) return
    this.painting = this.past.pop()
    this.changed()
  }

  clear() {
    if (!this.painted) return
    this.keep()
    this.painting = new Float32Array(SIDE * SIDE)
    this.changed()
  }

  // a soft round spot around a point of the disk
  dab([x, y], changed = true) {
    const radius = Number($("disk-size").value), reach = Math.ceil((radius * SIDE) / 2)
    const column = ((1 + x) / 2) * SIDE - 0.5, row = ((1 - y) / 2) * SIDE - 0.5
    for (let i = Math.max(Math.floor(row) - reach, 0); i <= Math.min(Math.ceil(row) + reach, SIDE - 1); i++) {
      for (let j = Math.max(Math.floor(column) - reach, 0); j <= Math.min(Math.ceil(column) + reach, SIDE - 1); j++) {
        const r = Math.hypot(i - row, j - column) / ((radius * SIDE) / 2)
        if (r >= 1) continue
        const weight = (1 - r * r) ** 2, at = i * SIDE + j, was = this.painting[at]
        if (this.tool === "erase") this.painting[at] = Math.abs(was) < 0.02 ? 0 : was * (1 - weight)
        else this.painting[at] = Math.min(Math.max(was + (this.tool === "want" ? 0.5 : -0.5) * weight, -1), 1)
      }
    }
    if (changed) this.changed()
  }

  line(to) {
    const [x, y] = this.at, step = Number($("disk-size").value) / 2
    const count = Math.floor(Math.hypot(to[0] - x, to[1] - y) / step)
    if (!count) return
    for (let i = 1; i <= count; i++) this.dab([x + ((to[0] - x) * i) / count, y + ((to[1] - y) * i) / count], false)
    this.at = to
    this.changed()
  }

  changed() {
    this.draw()
    this.timer ??= setTimeout(() => this.flush(), PAUSE)
  }

  // what waits to be sent, now: a text that is asked for wants all that was painted
  async flush() {
    if (!this.timer) return
    clearTimeout(this.timer)
    this.timer = null
    await this.send()
  }

  // the server reads the painting at each symbol, and says what it found
  async send() {
    try {
      const {scores} = await this.channel.paint({chart: "disk", shape: [SIDE, SIDE], values: this.painting, depth: this.past.length + 1, frame: this.facts.signature})
      this.scores = scores
      this.draw()
      const wanted = this.symbols.map((s, i) => [s, scores[i]]).filter(([, d]) => Math.abs(d) >= 0.05).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]))
      this.say(wanted.length ? wanted.slice(0, 8).map(([s, d]) => `${glyph(s)} ${d > 0 ? "+" : ""}${fixed(d, 2)}`).join("  ") : "Nothing is painted under a character yet.")
    } catch (error) {
      toast(error.message)
    }
  }

  // --- looking ---

  point(event) {
    const box = this.canvas.getBoundingClientRect()
    return [(2 * (event.clientX - box.left)) / box.width - 1, 1 - (2 * (event.clientY - box.top)) / box.height]
  }

  look([x, y]) {
    const far = this.places.map(([px, py]) => Math.hypot(px - x, py - y))
    const i = far.indexOf(Math.min(...far))
    if (i < 0 || far[i] > 0.08) return
    const near = this.places.map((place, k) => [apart(place, this.places[i]), k]).filter(([, k]) => k !== i).sort((a, b) => a[0] - b[0]).slice(0, 4)
    this.say(`${glyph(this.symbols[i])}, near ${near.map(([, k]) => glyph(this.symbols[k])).join(" ")}${this.scores[i] ? `, score ${fixed(this.scores[i], 2)}` : ""}`)
  }

  key(event) {
    const move = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]}[event.key]
    if (!this.places.length || event.ctrlKey || event.metaKey || event.altKey) return
    if (move) {
      this.cursor = this.cursor.map((v, k) => Math.min(Math.max(v + move[k] * STEP * (event.shiftKey ? 4 : 1), -1), 1))
      this.look(this.cursor)
      this.draw()
    } else if (event.key === "Enter" || event.key === " ") {
      this.keep()
      this.dab(this.cursor)
    } else return
    event.preventDefault()
    event.stopPropagation()
  }

  say(sentence) { $("disk-text").textContent = sentence }

  draw() {
    const box = this.canvas.getBoundingClientRect(), scale = window.devicePixelRatio
    const size = Math.round(box.width * scale)
    if (!size) return
    if (this.canvas.width !== size) this.canvas.width = this.canvas.height = size
    const context = this.canvas.getContext("2d"), half = size / 2
    const style = getComputedStyle(document.documentElement)
    context.clearRect(0, 0, size, size)
    context.save()
    context.beginPath()
    context.arc(half, half, half - scale, 0, 2 * Math.PI)
    context.clip()
    if (this.layers.painted) context.drawImage(this.picture(), 0, 0, size, size)
    context.restore()
    context.lineWidth = scale
    context.strokeStyle = style.getPropertyValue("--line")
    context.stroke()
    if (this.layers.effect) this.rings(context, half, scale, style)
    context.fillStyle = style.getPropertyValue("--ink")
    context.font = `${13 * scale}px ${style.getPropertyValue("--mono")}`
    context.textAlign = "center"
    context.textBaseline = "middle"
    if (this.layers.measured) this.places.forEach(([x, y], i) => context.fillText(glyph(this.symbols[i]), half * (1 + x), half * (1 - y)))
    if (document.activeElement === this.canvas && this.canvas.matches(":focus-visible")) {
      context.strokeStyle = style.getPropertyValue("--accent")
      context.lineWidth = 2 * scale
      context.beginPath()
      context.arc(half * (1 + this.cursor[0]), half * (1 - this.cursor[1]), Number($("disk-size").value) * half, 0, 2 * Math.PI)
      context.stroke()
    }
  }

  toggle(layer) {
    this.layers[layer] = !this.layers[layer]
    document.querySelector(`[data-disk-layer=${layer}]`).setAttribute("aria-pressed", this.layers[layer])
    this.say(`Layer ${layer} ${this.layers[layer] ? "shown" : "hidden"}.`)
    this.draw()
  }

  // the score that the server read at each character, a ring as large as its strength
  rings(context, half, scale, style) {
    this.places.forEach(([x, y], i) => {
      const score = this.scores[i] ?? 0
      if (Math.abs(score) < 0.05) return
      context.setLineDash(score > 0 ? [] : [4 * scale, 3 * scale])
      for (const [colour, width] of [["--paper", 4], ["--accent", 2]]) {
        context.strokeStyle = style.getPropertyValue(colour)
        context.lineWidth = width * scale
        context.beginPath()
        context.arc(half * (1 + x), half * (1 - y), (6 + 8 * Math.sqrt(Math.abs(score))) * scale, 0, 2 * Math.PI)
        context.stroke()
      }
    })
    context.setLineDash([])
  }

  // the painting in signed colours, clear where there is none
  picture() {
    const picture = new ImageData(SIDE, SIDE), colours = table(signed())
    this.painting.forEach((v, i) => {
      const at = 4 * Math.round((v + 1) * 127.5)
      picture.data.set(colours.subarray(at, at + 3), 4 * i)
      picture.data[4 * i + 3] = Math.min(176, Math.abs(v) * 224) // letters stay legible
    })
    const layer = document.createElement("canvas")
    layer.width = layer.height = SIDE
    layer.getContext("2d").putImageData(picture, 0, 0)
    return layer
  }
}
