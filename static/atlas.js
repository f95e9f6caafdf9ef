// The atlas: one echo large, all of them small, the history to scrub through, and a cell that is read out.
import {$, css, el, short, whole} from "./dom.js"
import {clear, fill, model, set} from "./charts.js"
import * as field from "./field.js"
import {bandColour} from "./palettes.js"
import * as spots from "./spot.js"

const KEPT = 512

export class Atlas {
  constructor(ask) {
    this.ask = ask
    this.looks = {state: [], gradient: []}
    this.kind = "state"
    this.echo = 0
    this.at = null // null follows the newest
    this.homology = null
    this.wire()
  }

  wire() {
    for (const button of document.querySelectorAll("[data-kind]")) {
      button.addEventListener("click", () => {
        this.kind = button.dataset.kind
        for (const b of document.querySelectorAll("[data-kind]")) b.setAttribute("aria-pressed", b === button)
        this.draw()
        this.drawHistory()
      })
    }
    for (const node of document.querySelectorAll("[data-echo]")) {
      const choose = () => this.choose(Number(node.dataset.echo))
      node.addEventListener("click", choose)
      node.addEventListener("keydown", (e) => { if (e.key === "Enter" || e.key === " ") { e.preventDefault(); e.stopPropagation(); choose() } })
    }
    $("look").addEventListener("input", () => this.go(Number($("look").value)))
    $("look-first").addEventListener("click", () => this.go(0))
    $("look-back").addEventListener("click", () => this.step(-1))
    $("look-next").addEventListener("click", () => this.step(1))
    $("follow").addEventListener("click", () => this.follow(this.at !== null))
    $("play").addEventListener("click", () => this.play())
    $("fig-atlas").addEventListener("keydown", (e) => this.key(e))
    $("fig-atlas").addEventListener("focus", () => { this.paint.focused = true; this.drawCursor(); this.paint.tools.ghost() })
    $("fig-atlas").addEventListener("blur", () => { this.paint.focused = false; fill("cursor", {sheet: [], band: []}); this.paint.feed(); this.paint.tools.ghost() })
  }

  choose(echo) {
    this.echo = echo
    for (const n of document.querySelectorAll("[data-echo]")) n.setAttribute("aria-pressed", Number(n.dataset.echo) === echo)
    this.draw()
  }

  key(event) {
    const to = this.facts ? spots.step(this.spot, event, this.size, this.paint.tools.path) : null
    if (!to) return
    event.preventDefault()
    this.spot = to
    this.drawCursor()
    this.read()
    this.paint.tools.moved()
    this.paint.tools.say(this.described().slice(0, 5).map(([name, value]) => `${name} ${value}`).join(", "))
  }

  // the cell of a place in chart units, turns along and 0..1 up
  cell(x, y) { return spots.cell([x, y], this.size) }

  // what is read out: the cell of the spot, which pointer and arrows move
  get cursor() { return this.cell(...this.spot) }

  drawCursor() {
    if (!this.facts) return
    fill("cursor", {sheet: [this.cursor.sheet], band: [this.cursor.band]})
    this.paint.feed()
  }

  // a place on the chart, in chart units, is read out
  point(x, y) {
    const before = this.cursor
    this.spot = [x, y]
    const {band, sheet} = this.cursor
    if (band !== before.band || sheet !== before.sheet) this.read()
  }

  begin(facts) {
    this.facts = facts
    this.bandNames = field.bandNames(facts.frame.edges)
    this.size = {bands: this.bandNames.length, sheets: facts.frame.sheets, echoes: facts.frame.lags.length}
    this.spot = spots.middle(0, 0, this.size)
    const {bands, sheets} = this.size
    const figure = model("atlas-figure")
    figure.x_range.setv({start: -0.5, end: sheets - 0.5}, {sync: false})
    figure.y_range.setv({start: -0.5, end: bands - 0.5}, {sync: false})
    const number = (n) => [...Array(n).keys()]
    label(figure.below[0], number(sheets), (s) => `${Math.round((360 * s) / sheets)}°`)
    label(figure.left[0], number(bands), (b) => this.bandNames[b])
    document.querySelectorAll("[data-echo]").forEach((node, e) => {
      node.hidden = e >= this.size.echoes
      node.lastElementChild.textContent = e === 0 ? "power" : `lag ${facts.frame.lags[e]}`
    })
    this.forget()
  }

  forget() {
    this.looks = {state: [], gradient: []}
    this.homology = null
    this.follow(true)
  }

  take(message) {
    const looks = this.looks[message.chart]
    looks.push({step: message.sequence, time: message.time, rho: Float32Array.from(message.values)})
    if (looks.length > KEPT / 2) {
      looks.shift()
      if (this.at !== null && message.chart === this.kind) this.at = Math.max(this.at - 1, 0)
    }
  }

  get look() {
    const looks = this.looks[this.kind]
    return looks[this.at ?? looks.length - 1]
  }

  go(index) {
    this.at = index
    this.draw()
  }

  step(by) {
    const last = this.looks[this.kind].length - 1
    if (last >= 0) this.go(Math.min(Math.max((this.at ?? last) + by, 0), last))
  }

  follow(on) {
    this.at = on ? null : Math.max(this.looks[this.kind].length - 1, 0)
    this.draw()
  }

  // the history once more, with what was painted when
  play() {
    const looks = this.looks[this.kind]
    if (this.playing || looks.length < 2) {
      clearInterval(this.playing)
      this.playing = null
    } else {
      if (this.at === null || this.at >= looks.length - 1) this.go(0)
      this.playing = setInterval(() => {
        if (this.at === null || this.at >= this.looks[this.kind].length - 1) { this.play(); this.follow(true) } else this.step(1)
      }, 120)
    }
    $("play").setAttribute("aria-pressed", Boolean(this.playing))
  }

  value(look, band, sheet, echo) {
    return field.value(look.rho, this.size, band, sheet, echo)
  }

  draw() {
    const looks = this.looks[this.kind], look = this.look
    const slider = $("look")
    slider.max = Math.max(looks.length - 1, 0)
    slider.value = this.at ?? slider.max
    slider.disabled = looks.length < 2
    slider.setAttribute("aria-valuetext", look ? `step ${look.step}` : "no look yet")
    $("follow").setAttribute("aria-pressed", this.at === null)
    $("atlas-step").textContent = look ? `step ${whole(look.step)}` : ""
    $("snapshot").disabled = !look
    if (!look || !this.facts) {
      $("readout").textContent = this.facts ? "The first look at the field comes with the run's first steps." : ""
      for (const name of ["cells", "outline", "painted"]) fill(name, Object.fromEntries(Object.keys(model(name).data).map((k) => [k, []])))
      for (const canvas of document.querySelectorAll(".echo canvas")) canvas.width = 1
      return
    }
    if (this.homology?.step !== look.step || this.homology?.kind !== this.kind) this.measure(look)
    const {bands, sheets, echoes} = this.size
    const range = this.ranges(look)
    document.querySelectorAll(".echo canvas").forEach((canvas, e) => { if (e < echoes) field.drawEcho(canvas, look.rho, this.size, e, field.mapping(e, range)) })
    const cells = {sheet: [], band: [], value: []}
    for (let b = 0; b < bands; b++) {
      for (let s = 0; s < sheets; s++) {
        cells.sheet.push(s)
        cells.band.push(b)
        cells.value.push(this.value(look, b, s, this.echo))
      }
    }
    set("cells-map", field.mapping(this.echo, range))
    fill("cells", {...cells, phase: cells.sheet.map((s) => Math.round((s * 360) / sheets)), range: cells.band.map((b) => this.bandNames[b]),
      component: cells.band.map((b, i) => this.component(b, cells.sheet[i]))})
    this.drawScale(range)
    fill("outline", this.outline())
    this.drawPainted(look)
    this.read()
    this.paint.show()
    set("history-now", {location: look.step, visible: this.at !== null})
  }

  ranges(look) {
    return field.ranges(look.rho, this.size)
  }

  drawScale(range) {
    const {palette, low, high} = field.mapping(this.echo, range)
    $("scale-low").textContent = short(low)
    $("scale-high").textContent = short(high)
    $("scale-bar").style.background = field.gradient(palette)
    $("scale-name").textContent = field.meaning(this.echo, this.facts.frame.lags)
  }

  component(band, sheet) {
    const label = this.homology?.labels?.[band]?.[sheet]
    return label == null ? "…" : label === 0 ? "below mean" : `${label} of ${this.homology.b0}`
  }

  async measure(look) {
    const kind = this.kind
    if (this.measuring === look) return
    this.measuring = look
    try {
      const found = await this.ask("look", {kind, step: look.step})
      if (this.look === look) { this.homology = found; this.draw() }
    } catch {
      // the server keeps this look no longer: the outline stays away
    } finally {
      if (this.measuring === look) this.measuring = null
    }
  }

  // of the cells above the threshold
  outline() {
    const h = this.homology, look = this.look
    if (this.echo !== 0 || h?.step !== look.step || h.kind !== this.kind) return {x0: [], y0: [], x1: [], y1: []}
    return field.outline(h.labels, this.size)
  }

  // the layer that was in force at this look, a square a cell as large as its strength
  drawPainted(look) {
    const layer = this.paint.at(look.step), marks = {sheet: [], band: [], size: [], colour: []}
    layer?.forEach((value, i) => {
      if (Math.abs(value) < 0.05) return
      marks.sheet.push(i % this.size.sheets)
      marks.band.push(Math.floor(i / this.size.sheets))
      marks.size.push(0.8 * Math.sqrt(Math.min(Math.abs(value), 3) / 3))
      marks.colour.push(css(value > 0 ? "--accent" : "--paper"))
    })
    fill("painted", marks)
  }

  read() {
    if (!this.look) return
    $("readout").replaceChildren(...this.described().flatMap(([name, value]) => [el("span", {}, name), el("b", {}, value)]))
  }

  // names and values of what is at the cursor
  described() {
    const look = this.look
    if (!look) return []
    const {band, sheet} = this.cursor
    const density = this.value(look, band, sheet, this.echo)
    const h = this.homology?.step === look.step && this.homology?.kind === this.kind ? this.homology : null
    return [["band", this.bandNames[band]], ["phase", `${Math.round((360 * sheet) / this.size.sheets)}°`],
      ["echo", this.echo === 0 ? "power" : `lag ${this.facts.frame.lags[this.echo]}`], ["density", short(density)],
      ...this.gain(band, sheet).map((g) => ["painted gain", g]), ["piece", this.component(band, sheet)], ...(h ? [["pieces", `${h.b0}`], ["loops", `${h.b1}`]] : [])]
  }

  // what is painted on a cell, as a factor; nothing where nothing is
  gain(band, sheet) {
    const value = (this.at === null ? this.paint.layer : this.paint.at(this.look.step))?.[band * this.size.sheets + sheet] ?? 0
    return Math.abs(value) < 0.005 ? [] : [`× ${(2 ** value).toFixed(2)}`]
  }

  // hovering moves the cell that is read out
  watchPointer() {
    const figure = model("atlas-figure")
    figure.on_event("mousemove", (e) => {
      const band = Math.round(e.y), sheet = Math.round(e.x)
      if (!this.size || band < 0 || sheet < 0 || band >= this.size.bands || sheet >= this.size.sheets) return
      if (band === this.cursor.band && sheet === this.cursor.sheet) return
      this.spot = spots.middle(band, sheet, this.size)
      this.read()
    })
  }

  drawHistory(table = this.table) {
    this.table = table
    if (!table || !this.size || !table.length) return
    drawBands(table, this.kind, this.size.bands)
    const legend = $("band-legend")
    legend.replaceChildren(el("span", {}, "low"), ...[...Array(this.size.bands).keys()].map((b) => el("i", {style: `background:${bandColour(b, this.size.bands)};margin-right:-10px`, title: this.bandNames[b]})), el("span", {style: "margin-left:12px"}, "high"))
  }
}

function label(axis, ticks, name) {
  axis.ticker.setv({ticks}, {sync: false})
  axis.setv({major_label_overrides: new Map(ticks.map((t) => [t, name(t)]))}, {sync: false})
}

// stacked shares, lowest band first, each a polygon: there along its lower edge, back along its upper
function drawBands(table, kind, bands) {
  clear("history")
  const step = table.get("step"), back = [...step].reverse()
  const polygons = {xs: [], ys: [], colour: []}
  let below = step.map(() => 0)
  for (let b = 0; b < bands; b++) {
    const share = table.get(`${kind} ${b}`)
    const above = below.map((y, i) => y + 100 * share[i])
    polygons.xs.push([...step, ...back])
    polygons.ys.push([...below, ...[...above].reverse()])
    polygons.colour.push(bandColour(b, bands))
    below = above
  }
  fill("bands", polygons)
}
