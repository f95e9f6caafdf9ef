// The tools in hand: what pointer, pen, finger and keys do on the atlas, and how it looks before it is paint.
import {$, el, svg, toast} from "./dom.js"

const MODES = {more: "amplify", less: "attenuate", erase: "erase"}
const SLIDERS = ["size", "strength", "hardness"]

export class Tools {
  // paint: whose surface it is; atlas: where the spot is; and the host's elements, on the page by their ids: root holds the
  // buttons of tools, modes and layers, part(name) gives a slider, a button or what is written to
  constructor(paint, atlas, {root = document, part = (name) => $(`paint-${name}`), canvas = $("paint"), face = $("fig-atlas")} = {}) {
    Object.assign(this, {paint, atlas, root, part, canvas, face})
    this.tool = "look"
    this.mode = "more"
    this.mirror = this.snap = false
    this.layers = {measured: true, painted: true, effect: false, spectrum: false}
    this.path = null // points of the open gesture
    this.pointer = null
    this.wire()
  }

  wire() {
    const {root, part, canvas, face} = this
    for (const name of ["tool", "mode", "layer"]) for (const b of root.querySelectorAll(`[data-${name}]`)) b.addEventListener("click", () => this[{tool: "choose", mode: "turn", layer: "toggle"}[name]](b.dataset[name]))
    for (const name of ["mirror", "snap"]) part(name).addEventListener("click", () => this.flip(name))
    for (const name of ["undo", "redo", "clear", "save"]) part(name)?.addEventListener("click", () => this[name]()) // a notebook saves nothing
    for (const name of SLIDERS) part(name).addEventListener("input", () => this.ghost())
    canvas.addEventListener("pointerdown", (e) => this.down(e))
    canvas.addEventListener("pointermove", (e) => this.move(e))
    canvas.addEventListener("pointerup", (e) => this.up(e))
    canvas.addEventListener("pointercancel", (e) => { if (e.pointerId === this.pointer) this.cancel() })
    for (const name of ["enter", "leave"]) canvas.addEventListener(`pointer${name}`, () => { this.over = name === "enter"; this.paint.feed(); this.ghost() })
    face.addEventListener("keydown", (e) => this.key(e))
  }

  get surface() { return this.paint.surface }
  get shown() { return this.paint.shown }
  get inHand() { return this.tool !== "look" }
  get busy() { return this.path !== null && this.tool === "brush" } // the layer is being painted
  get erasing() { return this.mode === "erase" }
  get axis() { return this.mirror ? 0.5 / this.atlas.size.sheets : null } // phase 0 lies in the middle of the first sheet

  settings() {
    const [size, strength, hardness] = SLIDERS.map((name) => Number(this.part(name).value))
    return {tool: this.tool, size, strength: this.erasing ? Math.min(strength / 3, 1) : strength, hardness,
      sign: this.mode === "less" ? -1 : 1, erase: this.erasing, mirror: this.axis}
  }

  // what keys do with the tools, wherever on the page they are pressed
  get keys() {
    return {
      v: () => this.pick("look"), b: () => this.pick("brush"), i: () => this.pick("line"), q: () => this.pick("stamp"), o: () => this.pick("lasso"), e: () => this.eraser(),
      x: () => this.turn(this.mode === "more" ? "less" : "more"), m: () => this.flip("mirror"), a: () => this.flip("snap"), u: () => this.undo(), y: () => this.redo(), c: () => this.clear(),
      ...Object.fromEntries(Object.keys(this.layers).map((layer, i) => [String(5 + i), () => this.toggle(layer)])),
      "[": () => this.nudge("size", -1), "]": () => this.nudge("size", 1), "{": () => this.nudge("hardness", -1), "}": () => this.nudge("hardness", 1), ",": () => this.nudge("strength", -1), ".": () => this.nudge("strength", 1),
    }
  }

  // on a page, or in a cell, that has no other keys but `more`
  listen(target, more = {}) {
    target.addEventListener("keydown", (event) => {
      if (event.defaultPrevented || event.target.tagName === "TEXTAREA" || this.chord(event)) return
      const act = {...this.keys, ...more}[event.key.toLowerCase()]
      if (!act || event.ctrlKey || event.metaKey || event.altKey) return
      event.preventDefault()
      act()
    })
  }

  // Ctrl+Z, Shift+Ctrl+Z, Ctrl+Y: whether it was one of them
  chord(event) {
    const key = (event.ctrlKey || event.metaKey) && event.key.toLowerCase()
    if (!["z", "y"].includes(key)) return false
    event.preventDefault()
    key === "y" || event.shiftKey ? this.redo() : this.undo()
    return true
  }

  // --- choosing, of what there are buttons for ---

  choose(tool) {
    if (!this.button("tool", tool)) return
    this.cancel()
    this.tool = tool
    this.mark("tool", tool)
    this.paint.take(tool)
    this.say(`${title(tool)}${this.inHand ? `, ${MODES[this.mode]}` : ""}`)
  }

  turn(mode) {
    this.cancel()
    this.mode = mode
    this.mark("mode", mode)
    this.say(MODES[mode])
  }

  // the key of the eraser: with nothing in hand it takes the brush, too
  eraser() {
    this.turn("erase")
    if (!this.inHand) this.choose("brush")
  }

  // the key of a tool; the brush paints again after the eraser
  pick(tool) {
    if (this.erasing && tool === "brush") this.turn("more")
    this.choose(tool)
  }

  flip(name) {
    this.cancel()
    this[name] = !this[name]
    this.part(name).setAttribute("aria-pressed", this[name])
    this.say(`${name} ${this[name] ? "on" : "off"}`)
    this.ghost()
  }

  toggle(layer) {
    if (!this.button("layer", layer)) return
    this.layers[layer] = !this.layers[layer]
    this.button("layer", layer).setAttribute("aria-pressed", this.layers[layer])
    this.say(`layer ${layer} ${this.layers[layer] ? "shown" : "hidden"}`)
    this.paint.dress()
  }

  nudge(name, by) {
    const slider = this.part(name)
    slider[by > 0 ? "stepUp" : "stepDown"]()
    this.say(`${name} ${slider.value}`)
    this.ghost()
  }

  // --- pointer, pen, finger: the first that comes down draws, others wait ---

  read(event) {
    const [x, y] = this.surface.place(event)
    return [x, y, Math.round(event.timeStamp), event.pointerType === "pen" ? event.pressure : 1]
  }

  down(event) {
    if (event.button !== 0 || !this.surface || this.pointer !== null) return
    event.preventDefault()
    this.face.focus({preventScroll: true})
    this.canvas.setPointerCapture(event.pointerId)
    this.cancel() // what the keyboard began
    this.pointer = event.pointerId
    this.atlas.point(...this.surface.place(event))
    this.press(this.read(event))
  }

  move(event) {
    if (!this.surface || (this.pointer !== null && event.pointerId !== this.pointer)) return
    this.atlas.point(...this.surface.place(event))
    if (event.pointerId === this.pointer) this.drag([...(event.getCoalescedEvents?.() ?? []), event].map((e) => this.read(e)))
    this.ghost()
  }

  up(event) {
    if (event.pointerId !== this.pointer) return
    this.pointer = null
    this.lift()
  }

  // --- the same by keyboard, at the atlas's spot ---

  get spot() { return [...this.atlas.spot, Math.round(performance.now()), 1] }

  key(event) {
    if (event.key === "Escape" && this.path) this.cancel("given up")
    else if (event.key === "Enter" && this.pointer === null && this.shown && this.surface) this.enter(event.shiftKey)
    else return
    event.preventDefault()
  }

  enter(hold) {
    const open = this.path !== null
    if (this.tool === "lasso" && open) {
      const here = this.snapped(this.spot)
      if (same(here, this.path[0]) || same(here, this.path.at(-1))) return this.lift()
      this.drag([here])
      return this.say(`corner ${this.path.length} at ${this.name(here)}`)
    }
    if (!open) this.press(this.spot)
    else if (this.tool === "line") this.drag([this.spot])
    if (!open && this.tool === "line") this.say(`line from ${this.name(this.spot)}: Enter ends it`)
    else if (!open && this.tool === "lasso") this.say(`corner 1 at ${this.name(this.spot)}: Enter on the last or first corner fills`)
    else if (!open && this.tool === "brush" && hold) this.say("brush down: arrows paint, Enter lifts it")
    else this.lift()
  }

  // the arrows moved the spot
  moved() {
    if (this.path && this.pointer === null && this.tool !== "lasso") this.drag([this.spot])
    this.ghost()
  }

  // --- a gesture ---

  press(point) {
    this.path = []
    if (this.tool === "brush") this.surface.begin(this.settings())
    this.drag([point])
  }

  drag(points) {
    const fresh = points.map((p) => this.snapped(p)).filter((p, i, all) => !(this.snap && same(p, all[i - 1] ?? this.path.at(-1))))
    if (this.tool === "brush" || this.tool === "lasso") this.path.push(...fresh)
    else if (fresh.length) this.path = [this.path[0] ?? fresh[0], fresh.at(-1)]
    if (this.tool === "brush" && fresh.length) {
      this.surface.extend(fresh)
      this.paint.send()
    }
    this.ghost()
  }

  lift() {
    const path = this.path, last = path.at(-1)
    this.path = null
    if (this.tool === "brush") this.surface.end()
    else if (this.tool === "lasso" && path.length < 3) return this.cancel("a lasso needs three corners")
    else this.surface.stroke({line: [path[0], last], stamp: this.corners(last), lasso: path}[this.tool], this.settings())
    this.done(`${title(this.tool)}, ${MODES[this.mode]}, ${{line: `${this.name(path[0])} to ${this.name(last)}`, lasso: `${path.length} corners`}[this.tool] ?? this.name(last)}`)
  }

  // an open gesture leaves nothing
  cancel(why) {
    if (this.busy) {
      this.surface?.cancel()
      this.paint.send()
    }
    this.path = this.pointer = null
    if (why) this.say(why)
    this.ghost()
  }

  undo() { this.back("undo", "undone") }
  redo() { this.back("redo", "done again") }

  back(way, what) {
    this.cancel()
    if (this.surface?.[way]()) this.done(what)
    else this.say(`nothing to ${way}`)
  }

  clear() {
    if (!this.surface) return
    this.cancel()
    this.surface.clear()
    this.done("wiped")
  }

  done(what) {
    this.say(`${what}; ${this.surface.depth} to undo`)
    this.count()
    this.ghost()
    this.paint.send()
  }

  count() {
    this.part("undo").disabled = !this.shown || !this.surface?.depth
    this.part("redo").disabled = !this.shown || !this.surface?.ahead
  }

  // what was painted as a file that replays: canvas.strokes.Recording
  save() {
    let recording
    try {
      recording = this.surface.recording()
    } catch (error) {
      return toast(error.message)
    }
    const url = URL.createObjectURL(new Blob([JSON.stringify(recording)], {type: "application/json"}))
    el("a", {href: url, download: `${this.paint.facts.run}-strokes.json`}).click()
    setTimeout(() => URL.revokeObjectURL(url), 10000)
  }

  button(group, name) { return this.root.querySelector(`[data-${group}=${name}]`) }

  mark(group, chosen) {
    for (const b of this.root.querySelectorAll(`[data-${group}]`)) b.setAttribute("aria-pressed", b.dataset[group] === chosen)
  }

  say(text) { this.part("says").textContent = text }

  // --- places ---

  // to the middle of a cell; a lasso's corners to the corners of cells
  snapped([x, y, ...rest]) {
    if (!this.snap) return [x, y, ...rest]
    const {bands, sheets} = this.atlas.size, off = this.tool === "lasso" ? 0 : 0.5
    const to = (value, count) => (Math.round(value * count - off) + off) / count
    return [to(x, sheets), Math.min(Math.max(to(y, bands), off / bands), 1 - off / bands), ...rest]
  }

  // a stamp's two corners around its middle; snapped, it covers whole cells
  corners([x, y, ...rest]) {
    const {bands, sheets} = this.atlas.size, {width, height} = this.surface.shape
    const size = Number(this.part("size").value), half = [size, (size * width) / height]
      .map((h, i) => (this.snap ? (Math.max(Math.round(h * [sheets, bands][i] - 0.5), 0) + 0.5) / [sheets, bands][i] : h))
    return [[x - half[0], y - half[1], ...rest], [x + half[0], y + half[1], ...rest]]
  }

  name([x, y]) {
    const {band, sheet} = this.atlas.cell(x, y)
    return `${this.atlas.bandNames[band]}, ${Math.round((360 * sheet) / this.atlas.size.sheets)}°`
  }

  // --- what is shown before it is paint ---

  ghost() {
    const over = this.part("ghost"), lively = this.shown && this.surface && (this.over || this.paint.focused)
    over.replaceChildren()
    if (!this.shown || !this.surface) return
    if (this.mirror) for (const x of [this.axis, this.axis + 0.5]) over.append(shape("line", "axis", {x1: x, x2: x, y1: 0, y2: 1}))
    if (!lively && !this.path) return
    const here = this.snapped(this.spot), marks = [...this.tip(here), ...this.way(here)]
    const turns = [-1, 0, 1].map((t) => t - Math.floor(here[0])) // the chart is cyclic
    for (const turn of turns) {
      over.append(svg("g", {transform: `translate(${turn} 0)`}, ...marks.map((m) => m.cloneNode(true))))
      if (this.mirror) over.append(svg("g", {class: "image", transform: `translate(${2 * this.axis - turn} 0) scale(-1 1)`}, ...marks.map((m) => m.cloneNode(true))))
    }
  }

  // the tool's tip: how far it reaches, and how far it is level
  tip(here) {
    const {size, hardness} = this.settings(), {width, height} = this.surface.shape, [x, y] = [here[0], 1 - here[1]]
    const round = (r) => ({cx: x, cy: y, rx: r, ry: (r * width) / height})
    if (this.tool === "stamp") {
      const [a, b] = this.corners(here)
      return twice("rect", {x: a[0], y: 1 - b[1], width: b[0] - a[0], height: b[1] - a[1]})
    }
    if (this.tool === "lasso") {
      const arm = 0.012, up = (arm * width) / height
      return [...twice("line", {x1: x - arm, x2: x + arm, y1: y, y2: y}), ...twice("line", {x1: x, x2: x, y1: y - up, y2: y + up})]
    }
    return [...twice("ellipse", round(size)), ...(hardness > 0 ? [shape("ellipse", "level", round(size * hardness))] : [])]
  }

  // the way of an open line or lasso
  way(here) {
    if (!this.path || !["line", "lasso"].includes(this.tool)) return []
    const points = (path) => path.map(([x, y]) => `${x},${1 - y}`).join(" ")
    const open = this.pointer === null ? [...this.path, here] : this.path
    return [...twice("polyline", {points: points(open)}), ...(this.tool === "lasso" ? [shape("polyline", "closing", {points: points([open.at(-1), open[0]])})] : [])]
  }
}

const title = (tool) => tool[0].toUpperCase() + tool.slice(1)
const same = (a, b) => Boolean(a && b) && Math.abs(a[0] - b[0]) < 1e-9 && Math.abs(a[1] - b[1]) < 1e-9
const shape = (tag, kind, attributes) => svg(tag, {class: kind, ...attributes})
const twice = (tag, attributes) => ["halo", "line"].map((kind) => shape(tag, kind, attributes)) // seen on any colour
