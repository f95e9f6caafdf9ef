// What the notebook's widgets share: the page's channel over a Jupyter comm, the theme, and a chart of plain elements.
import {Channel} from "./channel.js"
import {el, svg} from "./dom.js"
import {bandNames} from "./field.js"

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

// bands up, sheets across, names beside them, a canvas and lines over it; a cell is under the pointer or under the keys
export class Chart {
  constructor(label, {onCell, onEnter = () => {}}) {
    this.canvas = el("canvas")
    this.over = svg("svg", {class: "over", preserveAspectRatio: "none", "aria-hidden": "true"})
    this.face = el("div", {class: "face", tabindex: 0, role: "application", "aria-label": label}, this.canvas, this.over)
    this.names = el("div", {class: "names num"})
    this.phases = el("div", {class: "phases num"})
    this.root = el("div", {class: "chart"}, this.names, this.face, this.phases)
    this.cell = {band: 0, sheet: 0}
    this.lines = null
    this.onCell = onCell
    this.face.addEventListener("pointermove", (event) => this.point(event))
    this.face.addEventListener("keydown", (event) => this.key(event, onEnter))
    for (const name of ["focus", "blur"]) this.face.addEventListener(name, () => this.drawLines())
  }

  begin(frame) {
    this.bandNames = bandNames(frame.edges)
    this.size = {bands: this.bandNames.length, sheets: frame.sheets, echoes: frame.lags.length}
    this.cell = {band: 0, sheet: 0}
    this.lines = null
    this.names.replaceChildren(...this.bandNames.map((name) => el("span", {}, name)).reverse())
    this.phases.replaceChildren(...[...Array(frame.sheets).keys()].map((s) => el("span", {}, this.phase(s))))
    this.over.setAttribute("viewBox", `0 0 ${frame.sheets} ${this.size.bands}`)
  }

  phase(sheet) {
    return `${Math.round((360 * sheet) / this.size.sheets)}°`
  }

  point(event) {
    if (!this.size) return
    const box = this.face.getBoundingClientRect(), {bands, sheets} = this.size
    const inside = (share, count) => Math.min(Math.max(Math.floor(share * count), 0), count - 1)
    const band = inside(1 - (event.clientY - box.top) / box.height, bands), sheet = inside((event.clientX - box.left) / box.width, sheets)
    if (band === this.cell.band && sheet === this.cell.sheet) return
    this.cell = {band, sheet}
    this.drawLines()
    this.onCell()
  }

  key(event, onEnter) {
    const move = {ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]}[event.key]
    if (!this.size || !(move || event.key === "Enter")) return
    event.preventDefault()
    if (!move) return onEnter(this.cell)
    const {bands, sheets} = this.size, {band, sheet} = this.cell
    this.cell = {band: Math.min(Math.max(band + move[0], 0), bands - 1), sheet: (sheet + move[1] + sheets) % sheets}
    this.drawLines()
    this.onCell()
  }

  // the outline of `field.outline`, and the cell while the keys are here
  drawLines(lines = this.lines) {
    this.lines = lines
    if (!this.size) return
    const {bands} = this.size, {band, sheet} = this.cell, drawn = lines ?? {x0: []}
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
