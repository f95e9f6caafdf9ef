// What the notebook's widgets share: the page's channel over a Jupyter comm, the theme, and a chart of plain elements.
import {Channel} from "./channel.js"
import {el, svg} from "./dom.js"
import {bandNames} from "./field.js"
import * as spots from "./spot.js"

const LONGEST = 2 ** 31 - 1 // ms that a browser can wait: a kernel is busy as long as its cell takes

// a widget's view: its card, its channel, and colours that follow the notebook's theme
export class Card {
  constructor(model, host, title) {
    this.title = el("h2", {}, title)
    this.notice = el("p", {class: "problem", role: "alert", hidden: true})
    this.card = el("section", {class: "card", "aria-label": title, "aria-busy": "true"}) // until Python answers
    this.root = el("div", {class: "zspace", "data-lm-suppress-shortcuts": "true"}, this.card) // keys are the widget's here, not the notebook's
    host.append(this.root)
    this.ending = new AbortController()
    this.channel = this.connect(model)
    this.watchTheme()
  }

  // a Jupyter model as `Channel` wants it; views of one model hear each other's answers, so each numbers from elsewhere
  connect(model) {
    const link = {
      on: (name, hear) => {
        const heard = (_, [buffer]) => hear(buffer)
        model.on(name, heard)
        this.ending.signal.addEventListener("abort", () => model.off(name, heard))
      },
      send_msg: (data) => model.send({}, undefined, [data]),
    }
    const channel = new Channel(link, {onBatch: (messages) => this.take(messages), patience: LONGEST})
    channel.sequence = Math.floor(Math.random() * 2 ** 48)
    return channel
  }

  // an element has colours and a size only once it is shown
  async begin() {
    await new Promise((resolve) => {
      new ResizeObserver((_, observer) => { observer.disconnect(); resolve() }).observe(this.root)
    })
    this.themed()
    const busy = setTimeout(() => this.complain("The kernel is at work: this shows the newest only, and what you do here counts when its cell is over.", "wait"), 2000)
    await this.channel.ask("here") // a kernel answers the next message in the thread that this one came by
    await this.channel.ask("hello")
    clearTimeout(busy)
    this.card.setAttribute("aria-busy", "false")
    this.complain(null)
  }

  watchTheme() {
    const dark = matchMedia("(prefers-color-scheme: dark)")
    const set = () => {
      const light = document.body.dataset.jpThemeLight ?? String(!dark.matches) // JupyterLab's word, else the system's
      this.root.dataset.theme = light === "true" ? "light" : "dark"
    }
    const change = () => { set(); this.themed() }
    const observer = new MutationObserver(change)
    observer.observe(document.body, {attributeFilter: ["data-jp-theme-light"]})
    dark.addEventListener("change", change, {signal: this.ending.signal})
    this.ending.signal.addEventListener("abort", () => observer.disconnect())
    set()
  }

  css(name) {
    return getComputedStyle(this.root).getPropertyValue(name).trim()
  }

  complain(sentence, level = "bad") {
    this.notice.hidden = !sentence
    this.notice.dataset.level = level
    this.notice.textContent = sentence ?? ""
  }

  // one drawing a frame, however much comes
  wake() {
    this.waking ??= requestAnimationFrame(() => { this.waking = null; this.draw() })
  }

  close() {
    this.ending.abort()
    cancelAnimationFrame(this.waking)
  }
}

// bands up, sheets across, names beside them, a canvas and lines over it; a spot that pointer and arrow keys move
export class Chart {
  // onCell(): another cell is read out; onKey(): the arrows moved the spot; open(): whether a stroke is, and may go round
  constructor(label, {onCell, onKey = () => {}, open = () => false}) {
    this.canvas = el("canvas")
    this.over = svg("svg", {class: "over", preserveAspectRatio: "none", "aria-hidden": "true"})
    this.ghost = svg("svg", {class: "ghost", viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true"})
    this.face = el("div", {class: "face", tabindex: 0, role: "application", "aria-label": label}, this.canvas, this.over, this.ghost)
    this.names = el("div", {class: "names num"})
    this.phases = el("div", {class: "phases num"})
    this.root = el("div", {class: "chart"}, this.names, this.face, this.phases)
    this.lines = null
    Object.assign(this, {onCell, onKey, open})
    this.face.addEventListener("pointermove", (event) => this.under(event))
    this.face.addEventListener("keydown", (event) => this.key(event))
    for (const name of ["focus", "blur"]) this.face.addEventListener(name, () => this.drawLines())
  }

  begin(frame) {
    this.bandNames = bandNames(frame.edges)
    this.size = {bands: this.bandNames.length, sheets: frame.sheets, echoes: frame.lags.length}
    this.spot = spots.middle(0, 0, this.size)
    this.lines = null
    this.names.replaceChildren(...this.bandNames.map((name) => el("span", {}, name)).reverse())
    this.phases.replaceChildren(...[...Array(frame.sheets).keys()].map((s) => el("span", {}, this.phase(s))))
    this.over.setAttribute("viewBox", `0 0 ${frame.sheets} ${this.size.bands}`)
  }

  phase(sheet) {
    return `${Math.round((360 * sheet) / this.size.sheets)}°`
  }

  cell(x, y) { return spots.cell([x, y], this.size) }

  get cursor() { return this.cell(...this.spot) }

  under(event) {
    const box = this.face.getBoundingClientRect()
    this.point((event.clientX - box.left) / box.width, 1 - (event.clientY - box.top) / box.height)
  }

  // a place on the chart is read out
  point(x, y) {
    if (!this.size) return
    const before = this.cursor
    this.spot = [x, y]
    const {band, sheet} = this.cursor
    if (band === before.band && sheet === before.sheet) return
    this.drawLines()
    this.onCell()
  }

  key(event) {
    const to = this.size ? spots.step(this.spot, event, this.size, this.open()) : null
    if (!to) return
    event.preventDefault()
    this.spot = to
    this.drawLines()
    this.onCell()
    this.onKey()
  }

  // the outline of `field.outline`, and the cell while the keys are here
  drawLines(lines = this.lines) {
    this.lines = lines
    if (!this.size) return
    const {bands} = this.size, {band, sheet} = this.cursor, drawn = lines ?? {x0: []}
    this.over.replaceChildren(
      ...["halo", "line"].flatMap((name) => drawn.x0.map((x0, i) => svg("line", {class: name, x1: x0 + 0.5, y1: bands - 0.5 - drawn.y0[i], x2: drawn.x1[i] + 0.5, y2: bands - 0.5 - drawn.y1[i]}))),
      ...(this.face.matches(":focus-visible") ? [svg("rect", {class: "cursor", x: sheet, y: bands - 1 - band, width: 1, height: 1})] : []))
  }
}

export const pairs = (...items) => items.flatMap(([name, value]) => [el("span", {}, name), el("b", {}, value)])

// buttons of which one is pressed
export function choice(label, options, onChoose) {
  const buttons = options.map(([key, word]) => el("button", {type: "button", "aria-pressed": "false", "data-choice": key, onclick: () => choose(key)}, word))
  const choose = (key) => {
    for (const button of buttons) button.setAttribute("aria-pressed", button.dataset.choice === key)
    onChoose(key)
  }
  choose(options[0][0])
  return el("div", {class: "segments", role: "group", "aria-label": label}, ...buttons)
}
