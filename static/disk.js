// The disk on Generate: the run's symbols where its model puts them, and paint under them as a desire.
import {Losses} from "./adapter.js"
import {SIDE, extend, paint} from "./dabs.js"
import {PlainMap, openMap, seen, shownAt, viewFrom} from "./diskmap.js"
import {$, css, fixed, onRatio, toast, whole} from "./dom.js"
import {bytes, signed, table} from "./palettes.js"

const PAUSE = 100 // ms between two paintings sent
const MOST = 4096 // strokes one can go back
const BLANK = {" ": "␣", "\n": "↵", "\t": "⇥"}
const STEP = 1 / 16 // that an arrow key moves the cursor by, of the radius
const FARTHEST = 0.98 // from the middle that one can look from
const NEAR = 0.08 // of the disk as it is seen: what a pointer means

export const glyph = (symbol) => BLANK[symbol] ?? (/^[\p{C}\p{Z}]$/u.test(symbol) ? `U+${symbol.codePointAt(0).toString(16).toUpperCase()}` : symbol)

// length of the geodesic between two points of the disk (Nickel & Kiela 2017, equation 1)
function apart([ax, ay], [bx, by]) {
  const gap = (ax - bx) ** 2 + (ay - by) ** 2
  return Math.acosh(1 + (2 * gap) / ((1 - ax * ax - ay * ay) * (1 - bx * bx - by * by)))
}

const BARE = new Float32Array(SIDE * SIDE)

// a point of the unit disk, the nearest one to what lies outside
function inside(spot) {
  const far = Math.hypot(...spot)
  return far < 1 ? spot : spot.map((v) => (v / far) * 0.999)
}

export class Disk {
  // kernels: URL of the folder with disk.wgsl
  constructor(channel, kernels) {
    this.channel = channel
    this.canvas = $("disk")
    this.kernels = kernels
    this.losses = new Losses()
    this.map = new PlainMap("starting")
    this.start()
    this.tool = "want"
    this.cursor = [0, 0]
    this.layers = {measured: true, painted: true, effect: false}
    this.forget()
    for (const button of document.querySelectorAll("[data-disk]")) button.addEventListener("click", () => this.choose(button.dataset.disk))
    for (const button of document.querySelectorAll("[data-disk-layer]")) button.addEventListener("click", () => this.toggle(button.dataset.diskLayer))
    $("disk-undo").addEventListener("click", () => this.undo())
    $("disk-clear").addEventListener("click", () => this.clear())
    $("disk-middle").addEventListener("click", () => this.view([0, 0]))
    $("disk-renew").addEventListener("click", () => this.open(true))
    this.canvas.addEventListener("pointerdown", (event) => {
      if (event.button || !this.places.length) return
      this.canvas.setPointerCapture(event.pointerId)
      if (this.tool === "move") this.held = this.point(event)
      else {
        this.down(this.point(event), event.timeStamp)
        this.drawing = true
      }
    })
    this.canvas.addEventListener("pointermove", (event) => {
      if (this.held) this.view(viewFrom(this.held, inside(this.spot(event))))
      else if (this.drawing) this.go(this.point(event), event.timeStamp)
      else this.look(this.point(event))
    })
    for (const name of ["pointerup", "pointercancel"]) this.canvas.addEventListener(name, () => { this.drawing = false; this.held = null })
    this.canvas.addEventListener("keydown", (event) => this.key(event))
    this.canvas.addEventListener("blur", () => this.draw())
    new ResizeObserver(() => this.draw()).observe(this.canvas)
    onRatio(() => this.draw())
  }

  forget() {
    this.base = new Float32Array(SIDE * SIDE) // before the first stroke
    this.painting = this.base.slice()
    this.strokes = [] // all that was painted, as vectors
    this.drawing = false // the newest of them goes on with the pointer
    this.symbols = []
    this.places = []
    this.scores = []
    this.run = null
    this.held = null // the place that the pointer moves
    this.focus = [0, 0] // what is seen in the middle
    $("disk-step").textContent = ""
    this.say("")
    this.draw()
  }

  get painted() { return this.places.length > 0 && this.painting.some((v) => v) }

  // --- what draws it, and from where it is seen ---

  async start() { this.use(await openMap(this.kernels)) }

  use(map) {
    this.map = map
    $("disk-backend").textContent = map.name === "webgpu" ? "WebGPU" : `2-D: ${map.reason}`
    map.lost.then(() => {
      this.losses.add()
      this.use(new PlainMap("the device was lost"))
      if (!this.losses.many) this.start()
    })
    this.draw()
  }

  view(focus) {
    const far = Math.hypot(...focus)
    this.focus = far > FARTHEST ? focus.map((v) => (v * FARTHEST) / far) : focus
    this.draw()
  }

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

  // a checkpoint was written: the first one has the places
  heed(saved) {
    if (saved === this.saved) return
    this.saved = saved
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

  // a stroke comes down at a point
  down(point, time) {
    this.drawing = false
    this.strokes.push({tool: this.tool, size: Number($("disk-size").value), points: []})
    if (this.strokes.length > MOST) paint(this.base, this.strokes.shift())
    this.go(point, time)
  }

  go(point, time) {
    if (extend(this.painting, this.strokes.at(-1), [...point, Math.round(time)])) this.changed()
  }

  undo() {
    this.drawing = false
    if (!this.strokes.pop()) return
    this.painting = this.base.slice()
    for (const stroke of this.strokes) paint(this.painting, stroke)
    this.changed()
  }

  clear() {
    if (!this.painted) return
    this.drawing = false
    this.strokes.push({tool: "clear", size: 1, points: []})
    this.painting.fill(0)
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
      const {scores} = await this.channel.paint({chart: "disk", shape: [SIDE, SIDE], values: this.painting, depth: this.strokes.length, frame: this.facts.signature})
      this.scores = scores
      this.draw()
      const wanted = this.symbols.map((s, i) => [s, scores[i]]).filter(([, d]) => Math.abs(d) >= 0.05).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]))
      this.say(wanted.length ? wanted.slice(0, 8).map(([s, d]) => `${glyph(s)} ${d > 0 ? "+" : ""}${fixed(d, 2)}`).join("  ") : "Nothing is painted under a character yet.")
    } catch (error) {
      toast(error.message)
    }
  }

  // --- looking ---

  // where a pointer is, and which place of the disk is seen there
  spot(event) {
    const box = this.canvas.getBoundingClientRect()
    return [(2 * (event.clientX - box.left)) / box.width - 1, 1 - (2 * (event.clientY - box.top)) / box.height]
  }

  point(event) {
    const spot = this.spot(event)
    return this.focus.some(Boolean) ? seen(inside(spot), this.focus) : spot
  }

  look(place) {
    const spot = shownAt(place, this.focus), far = this.places.map((p) => Math.hypot(...shownAt(p, this.focus).map((v, k) => v - spot[k])))
    const i = far.indexOf(Math.min(...far))
    if (i < 0 || far[i] > NEAR) return
    const near = this.places.map((p, k) => [apart(p, this.places[i]), k]).filter(([, k]) => k !== i).sort((a, b) => a[0] - b[0]).slice(0, 4)
    this.say(`${glyph(this.symbols[i])}, near ${near.map(([, k]) => glyph(this.symbols[k])).join(" ")}${this.scores[i] ? `, score ${fixed(this.scores[i], 2)}` : ""}`)
  }

  key(event) {
    const move = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]}[event.key]
    if (!this.places.length || event.ctrlKey || event.metaKey || event.altKey) return
    if (move) {
      this.cursor = this.cursor.map((v, k) => Math.min(Math.max(v + move[k] * STEP * (event.shiftKey ? 4 : 1), -1), 1))
      this.look(this.cursor)
      this.draw()
    } else if (event.key === "Home" || event.key === "End") {
      this.view(event.key === "Home" ? [0, 0] : this.cursor)
    } else if (this.tool !== "move" && (event.key === "Enter" || event.key === " ")) {
      this.down(this.cursor, event.timeStamp)
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
    const on = (place) => shownAt(place, this.focus).map((v, k) => half * (k ? 1 - v : 1 + v))
    const style = getComputedStyle(document.documentElement)
    context.clearRect(0, 0, size, size)
    context.drawImage(this.map.draw({painting: this.layers.painted ? this.painting : BARE, colours: table(signed()), focus: this.focus, pixels: size,
      background: bytes(css("--card")), ink: bytes(css("--quiet"))}), 0, 0)
    context.beginPath()
    context.arc(half, half, half - scale, 0, 2 * Math.PI)
    context.lineWidth = scale
    context.strokeStyle = style.getPropertyValue("--line")
    context.stroke()
    if (this.layers.effect) this.rings(context, on, scale, style)
    context.fillStyle = style.getPropertyValue("--ink")
    context.font = `${13 * scale}px ${style.getPropertyValue("--mono")}`
    context.textAlign = "center"
    context.textBaseline = "middle"
    if (this.layers.measured) this.places.forEach((place, i) => context.fillText(glyph(this.symbols[i]), ...on(place)))
    if (document.activeElement === this.canvas && this.canvas.matches(":focus-visible")) {
      context.strokeStyle = style.getPropertyValue("--accent")
      context.lineWidth = 2 * scale
      context.beginPath()
      const radius = Number($("disk-size").value)
      for (let k = 0; k <= 64; k++) context.lineTo(...on(this.cursor.map((v, i) => v + radius * [Math.cos, Math.sin][i]((k * Math.PI) / 32))))
      context.stroke()
    }
  }

  // wherever on its page they are pressed
  get keys() { return Object.fromEntries(Object.keys(this.layers).map((layer, i) => [String(5 + i), () => this.toggle(layer)])) }

  toggle(layer) {
    this.layers[layer] = !this.layers[layer]
    document.querySelector(`[data-disk-layer=${layer}]`).setAttribute("aria-pressed", this.layers[layer])
    this.say(`Layer ${layer} ${this.layers[layer] ? "shown" : "hidden"}.`)
    this.draw()
  }

  // the score that the server read at each character, a ring as large as its strength
  rings(context, on, scale, style) {
    this.places.forEach((place, i) => {
      const score = this.scores[i] ?? 0
      if (Math.abs(score) < 0.05) return
      context.setLineDash(score > 0 ? [] : [4 * scale, 3 * scale])
      for (const [colour, width] of [["--paper", 4], ["--accent", 2]]) {
        context.strokeStyle = style.getPropertyValue(colour)
        context.lineWidth = width * scale
        context.beginPath()
        context.arc(...on(place), (6 + 8 * Math.sqrt(Math.abs(score))) * scale, 0, 2 * Math.PI)
        context.stroke()
      }
    })
    context.setLineDash([])
  }
}
