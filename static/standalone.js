// A recorded run without a server: its looks and curves to scrub through, the canvas to paint on, the disk, and scripts.
import {drawEcho, mapping, meaning, outline, gradient, ranges, value} from "./field.js"
import {decodeAll} from "./codec.js"
import {Disk} from "./disk.js"
import {$, css, el, fixed, short, svg, tips, whole} from "./dom.js"
import {bandColour, table, tables} from "./palettes.js"
import {drawSample} from "./live.js"
import {ScriptPane} from "./script.js"
import {Surface} from "./surface.js"
import {Spectral} from "./spectral.js"
import {Tools} from "./tools.js"
import {Chart, choice, pairs} from "./widget.js"
import {Table} from "./charts.js"

const HERE = new URL(".", import.meta.url).href // static/
const FRAME = 120 // ms between two looks of a replay

/** What is painted under each place of the disk, between cells bilinearly, as core.disk.scores reads it. */
export function scores(painting, side, places) {
  const inside = (i) => Math.min(Math.max(i, 0), side - 1)
  return places.map(([x, y]) => {
    const row = ((1 - y) / 2) * side - 0.5, column = ((1 + x) / 2) * side - 0.5
    const [i, j] = [Math.floor(row), Math.floor(column)], [down, along] = [row - i, column - j]
    const at = (a, b) => painting[inside(a) * side + inside(b)]
    return (1 - down) * ((1 - along) * at(i, j) + along * at(i, j + 1)) + down * ((1 - along) * at(i + 1, j) + along * at(i + 1, j + 1))
  })
}

// the server's part for the disk: it keeps nothing
class Answers {
  constructor(disk) { this.disk = disk }

  async ask() {
    if (!this.disk) throw new Error("This run had no checkpoint when it was written here, so its characters have no places.")
    return this.disk
  }

  async paint({shape, values}) {
    return {scores: scores(values, shape[0], this.disk.places)}
  }
}

// the run, its chart and the canvas over it; for the tools it is both what they paint on and where things are
class Recorded {
  constructor(batches) {
    this.looks = {state: [], gradient: []}
    this.samples = []
    this.strokes = []
    for (const batch of batches) this.hear(decodeAll(batch))
    this.kind = "state"
    this.echo = 0
    this.at = Math.max(this.looks.state.length - 1, 0)
    this.chart = new Chart("Atlas: arrow keys move over its cells, Enter uses the tool in hand there", {onCell: () => this.read(), onKey: () => this.tools.moved(), open: () => this.tools.path !== null})
    Object.assign(this.chart.canvas, {id: "paint"})
    Object.assign(this.chart.face, {id: "fig-atlas"})
    this.marks = svg("svg", {id: "paint-over", preserveAspectRatio: "none", "aria-hidden": "true"})
    this.chart.face.append(this.marks, svg("svg", {id: "paint-ghost", viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true"}))
    $("chart").append(this.chart.root)
    this.chart.begin(this.facts.frame)
    this.marks.setAttribute("viewBox", `0 0 ${this.size.sheets} ${this.size.bands}`)
    this.tools = new Tools(this, this)
    this.surface = new Surface(this.chart.canvas, {kernels: `${HERE}kernels`, ...this.grid, tables: tables(css("--paper"), css("--accent"))})
    this.surface.addEventListener("backend", () => { $("paint-backend").textContent = this.surface.backend === "webgpu" ? "WebGPU" : `2-D: ${this.surface.reason}` })
    this.spectral = new Spectral()
    this.spectral.attach(this.surface)
    for (const node of document.querySelectorAll("[data-brush]")) node.disabled = false
    this.wire()
  }

  hear(messages) {
    for (const [i, {kind, json, chart, sequence, values, shape}] of messages.entries()) {
      if (kind === "series") this.tables[chart].take(values, shape)
      else if (kind === "field") this.looks[chart].push({step: sequence, rho: values})
      else if (json?.type === "look") this.looks[json.kind].at(-1).homology = json
      else if (json?.type === "sample") this.samples.push(json)
      else if (json?.type === "facts") this.begin(json)
      else if (json?.type === "strokes") {
        const [, bands, sheets] = messages[i + 1].shape, cells = bands * sheets
        this.strokes = json.strokes.map((stroke, n) => ({...stroke, relation: messages[i + 1].values.subarray(n * cells, (n + 1) * cells)}))
      }
    }
  }

  begin(facts) {
    this.facts = facts
    this.tables = Object.fromEntries(Object.entries(facts.columns).map(([name, columns]) => [name, new Table(columns)]))
  }

  wire() {
    $("kinds").replaceWith(choice("signal", [["state", "State"], ["gradient", "Gradient"]], (kind) => { this.kind = kind; if (this.curves) this.draw() }))
    this.thumbnails = this.facts.frame.lags.map((lag, e) => el("button", {type: "button", class: "echo", onclick: () => { this.echo = e; this.draw() }}, el("canvas"), el("span", {}, e === 0 ? "power" : `lag ${lag}`)))
    $("echoes").replaceChildren(...this.thumbnails)
    $("look").max = Math.max(this.looks.state.length - 1, 0)
    $("look").addEventListener("input", () => this.go(Number($("look").value)))
    $("look-first").addEventListener("click", () => this.go(0))
    $("look-back").addEventListener("click", () => this.go(this.at - 1))
    $("look-next").addEventListener("click", () => this.go(this.at + 1))
    $("play").addEventListener("click", () => this.play())
    for (const name of ["focus", "blur"]) this.chart.face.addEventListener(name, () => { this.focused = name === "focus"; this.tools.ghost() })
    this.curves = [new Curves($("loss"), "bits/char"), new Curves($("bands"), "share of power, %")]
  }

  // --- where and when ---

  get size() { return this.chart.size }
  get grid() { return {bands: this.size.bands, sheets: this.size.sheets} }
  get bandNames() { return this.chart.bandNames }
  get look() { return this.looks[this.kind][Math.min(this.at, this.looks[this.kind].length - 1)] }

  get spot() { return this.chart.spot }

  cell(x, y) { return this.chart.cell(x, y) }

  point(x, y) { this.chart.point(x, y) }

  go(index) {
    this.at = Math.min(Math.max(index, 0), Math.max(this.looks.state.length - 1, 0))
    this.draw()
  }

  play() {
    const last = this.looks.state.length - 1
    if (this.playing || last < 1) {
      clearInterval(this.playing)
      this.playing = null
    } else {
      if (this.at >= last) this.go(0)
      this.playing = setInterval(() => (this.at < last ? this.go(this.at + 1) : this.play()), FRAME)
    }
    $("play").setAttribute("aria-pressed", Boolean(this.playing))
  }

  // --- for the tools and scripts: what is painted stays here ---

  get shown() { return this.tools.inHand }
  get busy() { return this.tools.path !== null }
  get closed() { return "" }

  take() { this.tools.count() }

  feed() {}

  dress() {
    this.spectral.show(this.tools.layers.spectrum)
    this.spectral.draw()
    this.draw()
  }

  send() { $("paint-state").textContent = `${this.surface.depth} ${this.surface.depth === 1 ? "stroke" : "strokes"}, in this page only` }

  async ready() {
    if (!this.tools.inHand) this.tools.choose("brush")
    return this.surface
  }

  painted(what) { this.tools.done(what) }

  // --- drawing ---

  draw() {
    const look = this.look
    $("look").value = this.at
    if (!look) return
    $("atlas-step").textContent = `step ${whole(look.step)}`
    $("look").setAttribute("aria-valuetext", `step ${look.step}`)
    const {size} = this, range = ranges(look.rho, size), {measured, painted} = this.tools.layers
    this.thumbnails.forEach((node, e) => {
      node.setAttribute("aria-pressed", e === this.echo)
      drawEcho(node.firstChild, look.rho, size, e, mapping(e, range))
    })
    const map = mapping(this.echo, range), shades = tables(css("--paper"), css("--accent"))
    this.surface.setTables({field: table(measured ? map.palette : Array(256).fill(css("--raised"))), painted: painted ? shades.painted : new Uint8Array(1024)})
    this.surface.setField(look.rho.filter((_, i) => i % size.echoes === this.echo), [map.low, map.high])
    this.chart.drawLines(measured && this.echo === 0 && look.homology ? outline(look.homology.labels, size) : null)
    this.mark(look)
    $("scale-low").textContent = short(map.low)
    $("scale-high").textContent = short(map.high)
    $("scale-bar").style.background = gradient(map.palette)
    $("scale-name").textContent = meaning(this.echo, this.facts.frame.lags)
    const sample = this.samples.findLast((s) => s.step <= look.step) ?? this.samples[0]
    if (sample) drawSample(sample)
    this.drawCurves(look.step)
    this.read()
  }

  // the layer that the run had in force then, a square a cell as large as its strength
  mark(look) {
    const layer = this.tools.layers.effect ? this.strokes.findLast((s) => s.step <= look.step)?.relation : null, {bands, sheets} = this.size
    this.marks.replaceChildren(...[...(layer ?? [])].flatMap((gain, i) => {
      const side = 0.8 * Math.sqrt(Math.min(Math.abs(gain), 3) / 3)
      const box = {x: (i % sheets) + 0.5 - side / 2, y: bands - Math.floor(i / sheets) - 0.5 - side / 2, width: side, height: side}
      return Math.abs(gain) < 0.05 ? [] : [svg("rect", {class: "under", ...box}), svg("rect", {class: gain > 0 ? "gain" : "gain less", ...box})]
    }))
  }

  drawCurves(now) {
    const {train, validation, looks} = this.tables, [loss, bands] = this.curves
    const points = (from) => from.get("step").map((step, i) => [step, from.get("bits")[i]])
    loss.lines([["train", points(train)], ["held", points(validation)]], now)
    const at = (from) => { const i = from.get("step").findLastIndex((s) => s <= now); return i < 0 ? null : from.get("bits")[i] }
    $("loss-legend").replaceChildren(...[["train", "train", at(train)], ["held", "validation", at(validation)]].map(([tone, name, bits]) => el("span", {}, el("i", {class: "line", style: `background:var(--${tone})`}), `${name} ${fixed(bits, 3)}`)))
    bands.shares(looks.get("step"), [...Array(this.size.bands).keys()].map((b) => [bandColour(b, this.size.bands), looks.get(`${this.kind} ${b}`)]), now)
  }

  read() {
    const look = this.look
    if (!look) return
    const {band, sheet} = this.chart.cursor, h = look.homology, label = h?.labels[band][sheet]
    $("readout").replaceChildren(...pairs(["band", this.bandNames[band]], ["phase", this.chart.phase(sheet)], ["echo", this.echo === 0 ? "power" : `lag ${this.facts.frame.lags[this.echo]}`],
      ["density", short(value(look.rho, this.size, band, sheet, this.echo))],
      ...(h ? [["piece", label ? `${label} of ${h.b0}` : "below mean"], ["pieces", String(h.b0)], ["loops", String(h.b1)]] : [])))
  }
}

// a curve over steps in plain SVG, with a line at the step that is shown
class Curves {
  constructor(root, name) {
    this.up = el("div", {class: "up num"})
    this.along = el("div", {class: "along num"})
    this.picture = svg("svg", {viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "img", "aria-label": `${name} over steps`})
    this.name = name
    root.append(el("div", {class: "curve-box"}, this.up, this.picture, this.along))
  }

  scale(first, last, low, high) {
    this.x = (step) => (100 * (step - first)) / Math.max(last - first, 1)
    this.y = (v) => 100 - (100 * (v - low)) / (high - low || 1)
    this.up.replaceChildren(...[high, low].map((v) => el("span", {}, short(v))))
    this.along.replaceChildren(...[whole(first), `step; ${this.name}`, whole(last)].map((t) => el("span", {}, t)))
  }

  now(step) { return svg("line", {class: "now", x1: this.x(step), x2: this.x(step), y1: 0, y2: 100}) }

  lines(curves, now) {
    const all = curves.flatMap(([, points]) => points)
    if (!all.length) return
    const steps = all.map(([s]) => s), values = all.map(([, v]) => v)
    this.scale(Math.min(...steps), Math.max(...steps), Math.floor(Math.min(...values)), Math.ceil(Math.max(...values)))
    this.picture.replaceChildren(...curves.map(([tone, points]) => svg("polyline", {class: tone, points: points.map(([s, v]) => `${this.x(s).toFixed(3)},${this.y(v).toFixed(3)}`).join(" ")})), this.now(now))
  }

  shares(steps, bands, now) {
    if (!steps.length) return
    this.scale(steps[0], steps.at(-1), 0, 100)
    let below = steps.map(() => 0)
    this.picture.replaceChildren(...bands.map(([colour, share]) => {
      const above = below.map((v, i) => v + 100 * share[i])
      const edge = (values) => steps.map((s, i) => `${this.x(s).toFixed(3)},${this.y(values[i]).toFixed(3)}`)
      const points = [...edge(below), ...edge(above).reverse()].join(" ")
      below = above
      return svg("polygon", {points, style: `fill:${colour}`})
    }), this.now(now))
  }
}

async function load(name) {
  const answer = await fetch(new URL(`../${name}`, HERE))
  if (!answer.ok) throw new Error(`${name} is not there (${answer.status}): copy the whole folder`)
  return answer
}

async function start() {
  tips()
  const {files} = await (await load("run.json")).json()
  const run = new Recorded(await Promise.all(files.map(async (name) => (await load(name)).arrayBuffer())))
  const disk = new Disk(new Answers(run.facts.disk), `${HERE}kernels`)
  disk.facts = run.facts
  const worker = URL.createObjectURL(new Blob([`import ${JSON.stringify(`${HERE}script_worker.js`)}`], {type: "text/javascript"})) // a blob has this page's content security policy, on any host
  const script = new ScriptPane($("script"), run, {runtime: JSON.parse($("script").dataset.runtime), worker})
  $("run-name").textContent = run.facts.run
  $("run-about").textContent = `${run.facts.model} ${run.facts.preset}, seed ${run.facts.seed}, step ${whole(run.facts.step)} of ${whole(run.facts.steps)}`
  $("theme").addEventListener("click", () => {
    const root = document.documentElement
    root.dataset.theme = root.dataset.theme === "light" ? "dark" : "light"
    localStorage.setItem("theme", root.dataset.theme)
    run.dress()
    disk.draw()
  })
  run.draw()
  disk.open()
  run.tools.listen(window, {p: () => run.play()}) // as on the workbench's own page
  window.recorded = {run, disk, script} // for the console, and for tests that look inside
}

start().catch((error) => {
  $("notice").hidden = false
  $("notice").textContent = error.message
  throw error
})
