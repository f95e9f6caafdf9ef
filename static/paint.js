// Painting on the atlas: the stroke glows at once, the layer travels, and what the trainer made of it comes back.
import {$, css, el, short, svg, toast, whole} from "./dom.js"
import {model} from "./charts.js"
import {power} from "./field.js"
import {bytes, layered} from "./palettes.js"
import {Spectral} from "./spectral.js"
import {Surface} from "./surface.js"
import {Tools} from "./tools.js"

const PAUSE = 50 // ms between two layers sent: 20 a second

const keep = (key, layer) => sessionStorage.setItem(key, JSON.stringify([...layer]))

export class Paint {
  constructor(channel, atlas) {
    this.channel = channel
    this.atlas = atlas
    this.acknowledged = 0
    this.strokes = []
    this.canvas = $("paint")
    this.tools = new Tools(this, atlas)
    this.spectral = new Spectral()
    new ResizeObserver(() => this.settle()).observe($("fig-atlas"))
  }

  // --- the run ---

  begin(facts) {
    this.tools.cancel()
    this.leave()
    this.facts = facts
    this.strokes = []
    this.layer = this.gains = this.effect = this.status = null
    this.acknowledged = 0
    this.kept = sessionStorage.getItem(this.key)
    this.say("")
    this.show()
  }

  get key() { return `layer of ${this.facts.run}` }

  // the surface is made when it is first wanted; a layer that the server never acknowledged goes out again
  open() {
    const {bands, sheets} = this.atlas.size
    this.opening ??= Surface.create(this.canvas, {kernels: new URL("workbench/static/kernels", document.baseURI).href, bands, sheets, tables: layered(css, this.tools.layers)}).then((surface) => {
      this.surface = surface
      surface.addEventListener("backend", () => this.tell())
      this.spectral.attach(surface)
      this.tell()
      if (this.layer) surface.setRelation(this.layer)
      this.feed()
      this.tools.count()
      return surface
    })
    return this.opening
  }

  tell() {
    const {backend, reason} = this.surface
    $("paint-backend").textContent = backend === "webgpu" ? "WebGPU" : backend === "2d" ? `2-D: ${reason}` : "starting"
  }

  get alive() { return ["running", "paused"].includes(this.status) }

  heed(status) {
    if (status === this.status) return
    this.status = status
    if (this.alive && this.kept) this.restore()
    this.show()
  }

  // what was painted just before the server went away, or another run was shown; it is newer than what the server has
  async restore() {
    const {facts} = this, layer = Float32Array.from(JSON.parse(this.kept)), surface = await this.open()
    if (facts !== this.facts) return
    this.kept = null
    this.hold(layer)
    surface.setRelation(layer)
    this.send()
  }

  // --- where it can be painted ---

  // a tool is taken in hand, or laid down
  take(tool) {
    if (tool !== "look") {
      this.atlas.choose(0)
      this.atlas.follow(true)
      if (this.status && !this.alive) toast(`This run is ${this.status}: its strokes can be looked at, new ones need a run at work.`)
    }
    this.show()
  }

  get shown() { return this.tools.inHand && this.alive && this.atlas.echo === 0 && this.atlas.at === null && Boolean(this.atlas.look) }

  // the canvas lies over the chart exactly, where painting can be
  show() {
    const shown = this.facts && this.shown
    $("painting").hidden = !shown
    this.spectral.show(shown && this.tools.layers.spectrum)
    for (const node of document.querySelectorAll("[data-brush]")) node.disabled = !shown
    this.tools.count()
    if (!shown) return this.tools.cancel()
    this.settle()
    this.open()
    this.feed()
  }

  settle() {
    if ($("painting").hidden) return
    const view = Bokeh.index.find_one_by_id(model("atlas-figure").id), box = view?.frame?.bbox
    if (!box?.width) return
    const plot = view.el.getBoundingClientRect(), fig = $("fig-atlas").getBoundingClientRect()
    Object.assign($("painting").style, {left: `${box.left + plot.left - fig.left}px`, top: `${box.top + plot.top - fig.top}px`, width: `${box.width}px`, height: `${box.height}px`})
  }

  // the measured field under the paint, and the outline and the cell over it
  feed() {
    const look = this.atlas.look
    if (!this.surface || !look) return
    const {bands, sheets} = this.atlas.size
    this.surface.setField(power(look.rho, this.atlas.size), [0, this.atlas.ranges(look).power])
    const lines = this.tools.layers.measured ? this.atlas.outline() : {x0: []}, over = $("paint-over")
    over.setAttribute("viewBox", `0 0 ${sheets} ${bands}`)
    const {band, sheet} = this.atlas.cursor
    over.replaceChildren(...["halo", "line"].flatMap((name) => lines.x0.map((x0, i) => svg("line", {class: name, x1: x0 + 0.5, y1: bands - 0.5 - lines.y0[i], x2: lines.x1[i] + 0.5, y2: bands - 0.5 - lines.y1[i]}))),
      ...this.effectMarks(),
      ...(this.focused && !this.tools.over ? [svg("rect", {class: "cursor", x: sheet, y: bands - 1 - band, width: 1, height: 1})] : []))
  }

  // the gains in force, a square a cell as large as its strength
  effectMarks() {
    const {bands, sheets} = this.atlas.size
    if (!this.tools.layers.effect || this.gains?.projection == null) return []
    return [...this.gains.relation].flatMap((value, i) => {
      const side = 0.8 * Math.sqrt(Math.min(Math.abs(value), 3) / 3), x = (i % sheets) + 0.5, y = bands - Math.floor(i / sheets) - 0.5
      const box = {x: x - side / 2, y: y - side / 2, width: side, height: side}
      return Math.abs(value) < 0.05 ? [] : [svg("rect", {class: "under", ...box}), svg("rect", {class: value > 0 ? "gain" : "gain less", ...box})]
    })
  }

  // the layers in their colours
  dress() {
    this.surface?.setTables(layered(css, this.tools.layers))
    this.spectral.show(Boolean(this.shown && this.tools.layers.spectrum))
    this.spectral.draw()
    this.feed()
  }

  theme() {
    this.dress()
    this.drawGains()
  }

  // --- what a script paints on ---

  // why nothing can be painted now
  get closed() { return !this.facts ? "There is no run to paint on yet." : this.alive ? "" : `This run is ${this.status}: painting needs a run at work.` }

  get grid() { return this.atlas.size }

  get busy() { return this.tools.path !== null }

  // the surface, where the paint can be seen
  ready() {
    if (!this.shown) this.tools.choose(this.tools.inHand ? this.tools.tool : "brush")
    return this.open()
  }

  painted(what) { this.tools.done(what) }

  // the layer that is painted now, read out where the cursor is
  hold(layer) {
    this.layer = layer
    this.atlas.read()
  }

  // --- the layer goes out ---

  // the newest layer goes out, one in flight; it is kept here until the server has it on disk
  async send() {
    this.fresh = true
    if (this.sending) return
    this.sending = true
    this.say("sending")
    const {facts, key, surface} = this
    try {
      while (this.fresh && facts === this.facts) {
        this.fresh = false
        const layer = await surface.relation()
        if (facts !== this.facts) break
        this.hold(layer)
        keep(key, layer)
        const {seq} = await this.channel.paint({chart: "atlas", shape: [this.atlas.size.bands, this.atlas.size.sheets], values: layer, depth: surface.depth, frame: facts.signature})
        if (facts !== this.facts) break
        sessionStorage.removeItem(key)
        this.acknowledged = seq
        this.say(`input ${seq} acknowledged`)
        await new Promise((resolve) => setTimeout(resolve, PAUSE))
      }
      this.sending = false
      this.sayInForce()
    } catch (error) {
      this.say("not sent")
      toast(error.message)
    } finally {
      this.sending = false
    }
    if (this.fresh && this.surface) this.send() // painted on the run that is shown instead
  }

  // another run is shown from now on; what was not sent waits until its own is back
  async leave() {
    const {surface} = this, unsent = this.sending || this.fresh
    this.surface = this.opening = null
    this.fresh = false
    if (!surface) return
    const {key} = this
    if (unsent) keep(key, await surface.relation())
    surface.release()
  }

  say(text) { $("paint-state").textContent = text }

  // --- what came of it ---

  // the newest layer on disk, whoever painted it
  takeLayer({seq}, {values}) {
    if (seq <= this.acknowledged || this.sending || this.tools.busy || this.kept) return
    this.acknowledged = seq
    this.hold(values.slice()) // of a batch only what is kept is held on to
    this.surface?.setRelation(this.layer)
    this.tools.count()
  }

  takeStrokes(strokes, {values, shape: [, bands, sheets]}) {
    const cells = bands * sheets
    strokes.forEach((stroke, i) => this.strokes.push({...stroke, relation: values.slice(i * cells, (i + 1) * cells)}))
    this.sayInForce()
  }

  sayInForce() {
    const last = this.strokes.at(-1)
    if (last?.seq >= this.acknowledged && !this.sending) this.say(`input ${last.seq} in force from step ${whole(last.step)}`)
  }

  // the layer that was in force at a step
  at(step) {
    return this.strokes.findLast((s) => s.step <= step)?.relation ?? null
  }

  takeGains(gains, layers, image) {
    this.gains = {...gains, relation: layers.values.slice(), rgba: image.values.slice()}
    for (const {seq, reason} of gains.rejected) toast(`Input ${seq} was refused by the run: ${reason}`)
    this.drawGains()
    this.feed()
  }

  drawGains() {
    const gains = this.gains
    const painted = gains?.projection != null
    $("effect-empty").hidden = painted
    $("effect").hidden = !painted
    $("twin").hidden = !painted || Boolean(this.effect)
    if (!painted) return
    const {bands, sheets} = this.atlas.size, less = bytes(css("--ink")), more = bytes(css("--accent"))
    const colours = new Uint8Array(4 * gains.relation.length)
    gains.relation.forEach((r, i) => colours.set([...(r < 0 ? less : more), Math.round((255 * Math.min(Math.abs(r), 3)) / 3)], 4 * i))
    cells($("gains"), bands, sheets, colours)
    cells($("projection"), bands, sheets, gains.rgba)
    $("projected").textContent = `projector ${short(gains.projection)}`
    const low = 2 ** gains.relation.reduce((a, b) => Math.min(a, b)), high = 2 ** gains.relation.reduce((a, b) => Math.max(a, b))
    const pair = (name, value) => [el("span", {}, name), el("b", {}, value)]
    $("gains-text").replaceChildren(...pair("gains", `${low.toFixed(2)} – ${high.toFixed(2)}`), ...pair("from step", whole(gains.step)), ...pair("amplitude", short(gains.amplitude)))
  }

  takeEffect(effect) {
    this.effect = effect
    $("twin").hidden = true
    const last = (curve) => curve.at(-1)?.[1]
    const from = effect.from, to = Math.max(effect.at, from + 1, ...effect.painted)
    const row = (name, curve) => {
      const most = Math.max(...curve.map(([, v]) => Math.abs(v)), 1e-9)
      const x = (step) => (100 * (step - from)) / (to - from)
      const shown = curve.filter(([step]) => step >= from)
      return [el("span", {}, name), svg("svg", {viewBox: "0 0 100 24", preserveAspectRatio: "none", "aria-hidden": "true"},
        ...effect.painted.filter((s) => s >= from).map((s) => svg("line", {class: "stroke", x1: x(s), x2: x(s), y1: 20, y2: 24})),
        svg("line", {class: "zero", x1: 0, x2: 100, y1: 12, y2: 12}),
        svg("polyline", {class: "curve", points: shown.map(([step, v]) => `${x(step).toFixed(2)},${(12 - (10 * v) / most).toFixed(2)}`).join(" ")})),
      el("b", {class: "num"}, last(curve) == null ? "–" : signed(last(curve)))]
    }
    $("effect-curves").replaceChildren(...row("loss", effect.loss), ...row("low share", effect.low))
    $("effect-text").textContent = `minus twin ${effect.twin} (${effect.status}, step ${whole(effect.at)}); ticks: strokes`
  }
}

function signed(value) {
  const text = Math.abs(value).toFixed(4)
  return Number(text) ? (value < 0 ? "-" : "+") + text : text
}

// a picture of one pixel a cell from RGBA bytes, lowest band first; it is shown at the bottom
function cells(canvas, bands, sheets, colours) {
  canvas.width = sheets
  canvas.height = bands
  const context = canvas.getContext("2d"), image = context.createImageData(sheets, bands)
  for (let b = 0; b < bands; b++) image.data.set(colours.subarray(4 * b * sheets, 4 * (b + 1) * sheets), 4 * (bands - 1 - b) * sheets)
  context.putImageData(image, 0, 0)
}
