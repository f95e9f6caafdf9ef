// The Projector view: what CanvasProjector on the server makes of the run shown, and the patches as they come in.
import {$, bytes, css, el, fixed, short, whole} from "./dom.js"
import {gradient} from "./field.js"
import {bytes as channels, SEQUENTIAL, signed, table} from "./palettes.js"

const FIELDS = ["relation", "energy", "gradient", "spin", "curvature", "trail"] // of a message's layers, in order
const CHANNELS = {energy: false, gradient: false, spin: true, curvature: true} // whether it has a sign
const NAMES = {painted: "Painted layers", state: "State", gradient: "Gradient", disk: "Disk"}
const DECIBELS = 60 // below the strongest, that the spectrum's colours span
const FLOOR = -120 // that the server sends at least
const CHROMA = 0.11 // of Oklab, the largest that is shown
// what there is to do while there is nothing to see, and why there is nothing where the run is over
const FIRST = "The first one comes with the run's first steps.", GONE = "This run is over and kept no looks at its field."
const BLANK = {
  painted: {title: "No painted layer is in force", begin: "Take the brush on Live and paint on the atlas while the run is at work. What the run measures is under State and Gradient.",
    ended: "None took effect while this run was at work. What it measured is under State and Gradient."},
  state: {title: "No look at the states yet", begin: FIRST, ended: GONE},
  gradient: {title: "No look at the gradient yet", begin: FIRST, ended: GONE},
  disk: {title: "Nothing is painted on the disk", begin: "Paint under the characters on Generate, in this page."},
}
const STATISTICS = {relation: ["values", "What is folded, in its own units"], energy: ["energy"], "vectors.gradient": ["gradient"], "vectors.spin": ["spin"], "vectors.curvature": ["curvature"], trail: ["trail", "How far cells moved lately"]}

// One pixel a cell, scaled up by the style sheet, and a frame around the cell that pointer or arrows are at.
class Picture {
  constructor(id, move) {
    this.box = $(id)
    this.canvas = el("canvas")
    this.frame = el("i", {hidden: true})
    this.box.replaceChildren(this.canvas, this.frame)
    this.rows = this.columns = 0
    this.box.addEventListener("pointermove", (event) => {
      const {left, top, width, height} = this.canvas.getBoundingClientRect()
      if (this.rows) move(...this.clamp(this.turned(Math.floor(((event.clientY - top) / height) * this.rows)), Math.floor(((event.clientX - left) / width) * this.columns)))
    })
    this.box.addEventListener("keydown", (event) => {
      const step = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]}[event.key]
      if (!step || !this.rows || event.ctrlKey || event.metaKey || event.altKey) return
      event.preventDefault()
      const far = event.shiftKey ? 8 : 1, [row, column] = this.at ?? [0, 0]
      move(...this.clamp(row + far * step[0] * (this.upward ? -1 : 1), column + far * step[1]), true)
    })
  }

  clamp(row, column) {
    return [Math.min(Math.max(row, 0), this.rows - 1), Math.min(Math.max(column, 0), this.columns - 1)]
  }

  // rows count from the bottom where they are bands or frequencies
  turned(row) { return this.upward ? this.rows - 1 - row : row }

  // RGBA bytes, row 0 first
  draw(colours, rows, columns, upward) {
    Object.assign(this, {rows, columns, upward})
    this.box.parentElement.style.setProperty("--ratio", columns / rows)
    const image = new ImageData(columns, rows), line = 4 * columns
    for (let r = 0; r < rows; r++) image.data.set(colours.subarray(r * line, (r + 1) * line), this.turned(r) * line)
    if (this.canvas.width !== columns) this.canvas.width = columns
    if (this.canvas.height !== rows) this.canvas.height = rows
    this.canvas.getContext("2d").putImageData(image, 0, 0)
  }

  mark(cell) {
    this.at = cell && this.clamp(...cell)
    this.frame.hidden = !cell
    if (!cell) return
    const [row, column] = this.at, part = (n, of) => `${(100 * n) / of}%`
    Object.assign(this.frame.style, {left: part(column, this.columns), top: part(this.turned(row), this.rows), width: part(1, this.columns), height: part(1, this.rows)})
  }
}

export class Projector {
  constructor(ask, atlas) {
    this.ask = ask
    this.atlas = atlas // for the names of bands, and what is painted
    this.how = {palette: "blue-magenta", of: "relation", axis: "rows", window: "rectangular"}
    this.chosen = null // by the user; else what there is
    this.asked = "null"
    this.list = []
    const move = (row, column, aloud) => this.move(row, column, aloud)
    this.pictures = Object.fromEntries(["rgba", "hue", "trail", ...Object.keys(CHANNELS)].map((name) => [name, new Picture(`projector-${name}`, move)]))
    this.spectrum = new Picture("projector-spectrum", (row, column, aloud) => this.bin(row, column, aloud))
    for (const name of ["palette", "of", "window"]) $(`projector-${name}`).addEventListener("change", (event) => { this.how[name] = event.target.value; this.want() })
    for (const button of document.querySelectorAll("[data-axis]")) button.addEventListener("click", () => { this.how.axis = button.dataset.axis; this.bins = null; this.want() })
    for (const button of document.querySelectorAll("[data-source]")) button.addEventListener("click", () => { this.chosen = this.source = button.dataset.source; this.want() })
    document.addEventListener("visibilitychange", () => this.want())
    drawPlane()
  }

  // --- what is asked for: nothing while nobody looks ---

  show(open) {
    this.open = open
    if (open) { this.settle(); this.draw() }
    this.want()
  }

  begin(facts) {
    this.facts = facts
    this.asked = "null" // the server begins anew, too
    this.clear()
    setTimeout(() => { this.settle(); this.want() }) // what was painted comes after the facts, in the same batch
  }

  // what is shown unless the user says: the paint, where there is any
  settle() { this.source = this.chosen ?? (this.atlas.paint.strokes.length ? "painted" : "state") }

  clear() {
    this.said = this.cell = this.bins = null
    this.list = []
    this.draw()
  }

  // one request in flight, the newest wish next
  async want() {
    for (const name of ["palette", "of", "window"]) $(`projector-${name}`).value = this.how[name]
    for (const [name, value] of [["axis", this.how.axis], ["source", this.source]]) for (const b of document.querySelectorAll(`[data-${name}]`)) b.setAttribute("aria-pressed", b.dataset[name] === value)
    if (this.asking) return
    this.asking = true
    while (this.wish !== this.asked) {
      const wish = this.asked = this.wish
      this.trouble = null
      try {
        await this.ask("project", wish === "null" ? {source: null} : JSON.parse(wish))
      } catch (error) {
        if (wish !== this.wish) continue
        this.trouble = error.message
        this.said = null
        this.draw()
      }
    }
    this.asking = false
  }

  get wish() {
    return this.open && this.facts && !document.hidden ? JSON.stringify({source: this.source, ...this.how}) : "null"
  }

  // --- what comes ---

  take(said, fields, image, spectrum) {
    if (said.source !== this.source) return
    if (this.said?.source !== said.source) this.cell = this.bins = null
    this.said = said
    if (!said.blank) {
      const [, rows, columns] = fields.shape, cells = rows * columns
      Object.assign(this, {rows, columns, rgba: image.values.slice(), decibels: this.arrange(said.axis, spectrum)})
      this.fields = Object.fromEntries(FIELDS.map((name, i) => [name, fields.values.slice(i * cells, (i + 1) * cells)]))
    }
    this.drawPicture()
  }

  takePatches({source, patches}, layers) {
    if (source !== this.source) return
    const [, rows, columns] = layers.shape, cells = rows * columns
    this.listed = source
    this.list = patches.map((patch, i) => ({...patch, rows, columns, layer: layers.values.slice(i * cells, (i + 1) * cells)})).reverse()
    this.drawPatches()
  }

  // --- drawing ---

  explain(title, sentence) {
    const node = $("projector-blank")
    node.hidden = !title
    $("projector").classList.toggle("blank", Boolean(title))
    node.replaceChildren(...(title ? [el("b", {}, title), sentence] : []))
  }

  get over() { return !["running", "paused"].includes(this.atlas.paint.status) }
  get upward() { return this.said?.source !== "disk" } // bands go up

  draw() {
    this.drawPatches()
    this.drawPicture()
  }

  drawPicture() {
    const {said, over} = this
    if (!this.open) return
    const ended = said && !said.blank && this.upward && over // its time stands still
    $("projector-step").textContent = said && !said.blank && this.upward ? `${said.source === "painted" ? "from " : ""}step ${whole(said.step)}` : ""
    $("projector-note").textContent = ended ? `This run is ${this.atlas.paint.status}: range and trail stand as at its last ${said.source === "painted" ? "layer" : "look"}.` : ""
    if (!said) return this.explain(...(this.trouble ? ["This cannot be shown", this.trouble] : ["Waiting for the first picture", "The server makes it once it is asked."]))
    if (said.blank) {
      const {title, begin, ended: gone} = BLANK[said.source]
      return this.explain(title, over && gone ? gone : begin)
    }
    this.explain(null)
    const {rows, columns, upward, fields} = this
    $("projector-size").textContent = `${rows} × ${columns} × 4 B`
    this.pictures.rgba.draw(this.rgba, rows, columns, upward)
    this.pictures.hue.draw(hues(fields), rows, columns, upward)
    for (const [name, sign] of Object.entries(CHANNELS)) this.pictures[name].draw(coloured(fields[name], sign ? signed() : SEQUENTIAL, sign ? -1 : 0, 1), rows, columns, upward)
    const full = largest(fields.relation) || 1
    this.pictures.trail.draw(coloured(fields.trail, SEQUENTIAL, 0, full), rows, columns, upward)
    $("projector-trail-high").textContent = short(full)
    const [low, high] = said.shown
    $("projector-low").textContent = short(low)
    $("projector-high").textContent = short(high)
    $("projector-bar").style.background = `linear-gradient(90deg, ${said.scale.join(",")})`
    for (const bar of document.querySelectorAll("#projector .trail .scale i, #projector .spectrum .scale i")) bar.style.background = gradient(SEQUENTIAL)
    this.drawSpectrum()
    this.drawTelemetry()
    $("projector-summary").textContent = this.summary()
    this.read()
  }

  drawTelemetry() {
    const {metrics: m, shown: [low, high], capacity} = this.said, get = (name) => m[`canvas.${name}`]
    const fact = (name, tip, value) => [el("dt", {"data-tip": tip}, name), el("dd", {}, value)]
    $("projector-facts").replaceChildren(
      ...fact("shown range", "The values that the first and the last colour stand for", `${short(low)} to ${short(high)}`),
      ...fact("half-life", "Seconds in which the shown range comes half way to the values' own, and a trail loses half", `${short(get("normalizer.half_life"))} s`),
      ...fact("queue", "Relations that are folded, and how many at most: the loop's damping", `${whole(get("queue_len"))} of ${whole(capacity)}`),
      ...fact("weight", "Sum of their weights, coherence / (1 + tension) each", short(get("total_weight"))),
      ...fact("amplitude", "L2 norm of what is shown: the patch that the projector would emit keeps it", short(get("relation.l2"))))
    const keys = ["min", "mean", "max", "rms"]
    $("projector-table").replaceChildren(el("table", {}, el("thead", {}, el("tr", {}, el("th"), ...keys.map((key) => el("th", {class: "right"}, key)))),
      el("tbody", {}, ...Object.entries(STATISTICS).map(([name, [word, tip]]) => el("tr", {}, el("th", {scope: "row", "data-tip": tip}, word), ...keys.map((key) => el("td", {class: "right"}, short(get(`${name}.${key}`)))))))))
  }

  drawPatches() {
    const node = $("projector-patches")
    if (!this.list.length) return node.replaceChildren(el("p", {class: "quiet"}, this.listed === "disk" ? "None came from this page yet." : "None came yet: paint on Live, or with zspace steer."))
    const disk = this.listed === "disk"
    const head = [["", ""], ["time", "When it came in"], ...(disk ? [] : [["input", "Its number in the run's input log"]]), ["bytes", "Of its values"], ["energy", "Mean square of its values"], ...(disk ? [] : [["weight", "coherence / (1 + tension): how much it counts in the fold"], ["step", "From which it is in force"]])]
    const rows = this.list.map((patch) => {
      const when = new Date(1000 * patch.time)
      const cells = [thumbnail(patch, disk ? 1 : 3, !disk), el("time", {datetime: when.toISOString(), "data-tip": when.toLocaleString()}, when.toTimeString().slice(0, 8)), ...(disk ? [] : [whole(patch.seq)]), bytes(patch.bytes), short(patch.energy),
        ...(disk ? [] : [short(patch.weight), patch.refused ? el("span", {class: "bad", "data-tip": patch.refused}, "refused") : patch.step == null ? "waits" : whole(patch.step)])]
      return el("tr", {}, ...cells.map((cell) => el("td", {}, cell)))
    })
    node.replaceChildren(el("table", {class: "num"}, el("thead", {}, el("tr", {}, ...head.map(([name, tip]) => el("th", {"data-tip": tip || null}, name)))), el("tbody", {}, ...rows)))
  }

  // --- the spectrum: frequencies along x, but up where columns are transformed; the mirror image of a real signal's is left out ---

  arrange(axis, {values, shape: [, rows, columns]}) {
    const pick = (height, width, at) => ({rows: height, columns: width, values: Float32Array.from({length: height * width}, (_, i) => values[at(Math.floor(i / width), i % width)])})
    if (axis === "rows") return pick(rows, Math.floor(columns / 2) + 1, (r, k) => r * columns + k)
    if (axis === "columns") return pick(Math.floor(columns / 2) + 1, rows, (k, c) => c * columns + k) // the server sends a column's spectrum a row
    const [up, along] = [Math.floor(rows / 2), Math.floor(columns / 2)] // frequency 0 in the middle
    return pick(rows, columns, (r, c) => ((r - up + rows) % rows) * columns + ((c - along + columns) % columns))
  }

  drawSpectrum() {
    const {rows, columns, values} = this.decibels, {axis, peak} = this.said
    this.spectrum.draw(coloured(values, SEQUENTIAL, -DECIBELS, 0), rows, columns, axis === "rows" ? this.upward : true)
    const half = Math.floor(columns / 2)
    const ends = {rows: ["0", `cycles across ${this.columns} cells`, columns - 1], columns: [this.place(0, 0)[1][1], `0 to ${rows - 1} cycles up ${this.rows} cells`, this.place(0, this.columns - 1)[1][1]], "2d": [-half, "cycles across, and up", columns - 1 - half]}[axis]
    document.querySelectorAll("#projector .ends span").forEach((node, i) => { node.textContent = String(ends[i]) })
    $("projector-peak").textContent = `strongest ${short(peak)}`
    this.bins ??= axis === "2d" ? [Math.floor(rows / 2), half] : [0, 0]
    this.bin(...this.bins)
  }

  bin(row, column, aloud) {
    this.bins = [row, column]
    this.spectrum.mark(this.bins)
    const {rows, columns, values} = this.decibels, {axis} = this.said, [r, c] = this.spectrum.at, found = values[r * columns + c]
    const where = {
      rows: () => [this.place(r, 0)[0], ["across", `${c} cycles`]], columns: () => [this.place(0, c)[1], ["up", `${r} cycles`]],
      "2d": () => [["across", `${c - Math.floor(columns / 2)} cycles`], ["up", `${r - Math.floor(rows / 2)} cycles`]],
    }[axis]()
    this.spell("projector-bin", [...where, ["power", found > FLOOR ? `${fixed(found, 1)} dB` : `${FLOOR} dB or less`]], aloud)
  }

  // --- reading ---

  move(row, column, aloud) {
    this.cell = [row, column]
    this.read(aloud)
  }

  // names of a cell's row and column
  place(row, column) {
    if (!this.upward) return [["row", `${row}`], ["column", `${column}`]]
    return [["band", this.atlas.bandNames[row]], ["phase", `${Math.round((360 * column) / this.columns)}°`]]
  }

  read(aloud) {
    const {fields, columns} = this
    this.cell ??= this.strongest()
    for (const picture of Object.values(this.pictures)) picture.mark(this.cell)
    const [row, column] = this.cell, at = row * columns + column
    for (const name of Object.keys(CHANNELS)) $(`projector-${name}`).parentElement.querySelector("b").textContent = fixed(fields[name][at], 2)
    this.spell("projector-readout", [...this.place(row, column), ["value", short(fields.relation[at])], ["energy", fixed(fields.energy[at], 3)], ["trail", short(fields.trail[at])]], aloud)
  }

  // names and values as text; aloud for who hears the page
  spell(id, pairs, aloud) {
    $(id).replaceChildren(...pairs.map(([name, value]) => el("div", {}, el("span", {}, name), el("b", {}, value))))
    if (aloud) $("projector-says").textContent = pairs.map(([name, value]) => `${name} ${value}`).join(", ")
  }

  strongest() {
    const {relation} = this.fields, most = largest(relation), i = relation.findIndex((v) => Math.abs(v) === most)
    return [Math.floor(i / this.columns), i % this.columns]
  }

  summary() {
    const {said, fields, rows, columns} = this, [row, column] = this.strongest()
    const name = (r, c) => this.place(r, c).map(([what, value]) => `${what} ${value}`).join(", ")
    const moved = largest(fields.trail)
    return `${NAMES[said.source]}: ${rows} by ${columns} cells, values from ${short(said.shown[0])} to ${short(said.shown[1])} in ${said.palette}. The strongest is ${short(fields.relation[row * columns + column])} at ${name(row, column)}. ${moved > 0 ? `The most that a cell moved lately is ${short(moved)}.` : "Nothing moved lately."}`
  }
}

// a painted layer in small: the accent where it amplifies or wants, ink where it attenuates or avoids
function thumbnail({layer, rows, columns}, limit, upward) {
  const canvas = el("canvas", {width: columns, height: rows, "aria-hidden": "true"}), image = new ImageData(columns, rows)
  const more = channels(css("--accent")), less = channels(css("--ink"))
  layer.forEach((v, i) => {
    const row = Math.floor(i / columns), at = 4 * ((upward ? rows - 1 - row : row) * columns + (i % columns))
    image.data.set([...(v < 0 ? less : more), Math.round((255 * Math.min(Math.abs(v), limit)) / limit)], at)
  })
  canvas.getContext("2d").putImageData(image, 0, 0)
  return canvas
}

function largest(values) {
  let most = 0
  for (const v of values) most = Math.max(most, Math.abs(v))
  return most
}

// values as RGBA bytes; a pixel is written as one number, for a disk has many
function coloured(values, palette, low, high) {
  const colours = new Uint32Array(table(palette).buffer), out = new Uint32Array(values.length), scale = 255 / (high - low)
  for (let i = 0; i < values.length; i++) out[i] = colours[Math.round(Math.min(Math.max((values[i] - low) * scale, 0), 255))]
  return new Uint8ClampedArray(out.buffer)
}

// four numbers a cell as one colour in Oklab: energy is lightness; spin and curvature, times the gradient, lie across and up the plane of hue and chroma
function hues({energy, gradient: steep, spin, curvature}) {
  const out = new Uint8ClampedArray(4 * energy.length)
  for (let i = 0; i < energy.length; i++) oklab(out, i, 0.35 + 0.5 * energy[i], CHROMA * steep[i] * spin[i], CHROMA * steep[i] * curvature[i])
  return out
}

// pixel i of RGBA bytes in sRGB (Ottosson 2020)
function oklab(out, i, lightness, a, b) {
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3, m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3, s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3
  out[4 * i] = gamma(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s)
  out[4 * i + 1] = gamma(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s)
  out[4 * i + 2] = gamma(-0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s)
  out[4 * i + 3] = 255
}

const gamma = (x) => 255 * (x <= 0.0031308 ? 12.92 * Math.max(x, 0) : 1.055 * x ** (1 / 2.4) - 0.055)

// the legend: every hue and chroma at one lightness
function drawPlane() {
  const canvas = $("projector-plane"), n = canvas.width, image = new ImageData(n, n)
  for (let i = 0; i < n * n; i++) oklab(image.data, i, 0.6, CHROMA * ((2 * (i % n)) / (n - 1) - 1), CHROMA * (1 - (2 * Math.floor(i / n)) / (n - 1)))
  canvas.getContext("2d").putImageData(image, 0, 0)
}
