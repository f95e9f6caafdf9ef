// The atlas in a notebook: one echo large, all of them small, the history to scrub through, and a cell that is read out.
import {el, short, whole} from "./dom.js"
import {drawEcho, gradient, mapping, meaning, outline, ranges, value} from "./field.js"
import {Card, Chart, choice, pairs} from "./widget.js"

const KEPT = 256 // looks of a kind

export function render({model, el: host}) {
  const view = new AtlasView(model, host)
  view.begin()
  return () => view.close()
}

class AtlasView extends Card {
  constructor(model, host) {
    super(model, host, "Atlas")
    this.echo = 0
    this.state = el("span", {class: "num quiet", role: "status"})
    this.step = el("span", {class: "num quiet"})
    this.empty = el("p", {class: "quiet"}, "Nothing was looked at yet: the first field shows here as soon as it is there.")
    this.chart = new Chart("Atlas: arrow keys move the cell that is read out", {onCell: () => this.read()})
    this.scale = [el("span", {class: "num"}), el("i"), el("span", {class: "num"}), el("span", {class: "quiet"})]
    this.echoes = el("div", {class: "echoes", role: "group", "aria-label": "echoes"})
    this.readout = el("div", {class: "readout num", "aria-live": "polite"})
    this.slider = el("input", {type: "range", min: 0, max: 0, value: 0, "aria-label": "look", oninput: () => this.go(Number(this.slider.value))})
    this.follow = el("button", {type: "button", class: "toggle", title: "Follow the newest look", onclick: () => this.go(this.at === null ? this.looks[this.kind].length - 1 : null)}, "Follow")
    this.forget()
    this.kinds = choice("signal", [["state", "State"], ["gradient", "Gradient"]], (kind) => { this.kind = kind; this.go(null) })
    this.shown = el("div", {hidden: true}, this.chart.root, el("div", {class: "scale"}, ...this.scale), this.echoes, this.readout, el("div", {class: "scrub"}, this.slider, this.follow))
    this.card.append(el("header", {}, this.title, this.kinds, this.step, el("span", {class: "fill"}), this.state), this.notice, this.empty, this.shown)
  }

  // --- what Python says ---

  take(messages) {
    for (const {kind, json, chart, sequence, shape, values} of messages) {
      if (kind === "field") this.keep(chart, {step: sequence, shape, rho: values.slice()})
      else if (json?.type === "status") this.state.textContent = json.run ? `${json.state}, step ${whole(json.step)}` : ""
      else if (json?.type === "facts") this.facts(json)
      else if (json?.type === "history") this.forget()
      else if (json?.type === "problem") this.complain(json.reason)
    }
    this.wake()
  }

  facts({title, frame, signature}) {
    if (signature === this.signature) return // said again to a view that came later
    this.signature = signature
    this.title.textContent = title
    this.lags = frame.lags
    this.chart.begin(frame)
    this.thumbnails = frame.lags.map((lag, e) => el("button", {type: "button", class: "echo", "aria-pressed": "false", onclick: () => { this.echo = e; this.draw() }}, el("canvas"), el("span", {}, e === 0 ? "power" : `lag ${lag}`)))
    this.echoes.replaceChildren(...this.thumbnails)
    this.echo = 0
  }

  forget() {
    this.looks = {state: [], gradient: []}
    this.homology = null
    this.at = null // null follows the newest
  }

  keep(kind, look) {
    const looks = this.looks[kind]
    looks.push(look)
    if (looks.length > KEPT) {
      looks.shift()
      if (this.at !== null && kind === this.kind) this.at = Math.max(this.at - 1, 0)
    }
  }

  // --- drawing ---

  get look() {
    const looks = this.looks[this.kind]
    return looks[this.at ?? looks.length - 1]
  }

  go(index) {
    this.at = index
    this.wake()
  }

  themed() {
    this.draw()
  }

  draw() {
    const look = this.look, looks = this.looks[this.kind]
    this.kinds.hidden = !this.looks.gradient.length
    this.empty.hidden = Boolean(look)
    this.shown.hidden = !look
    this.step.textContent = look ? `step ${whole(look.step)}` : ""
    if (!look) return
    this.slider.max = looks.length - 1
    this.slider.value = this.at ?? looks.length - 1
    this.slider.disabled = looks.length < 2
    this.slider.setAttribute("aria-valuetext", `step ${look.step}`)
    this.follow.setAttribute("aria-pressed", this.at === null)
    const [bands, sheets, echoes] = look.shape, size = {bands, sheets, echoes}, range = ranges(look.rho, size)
    if (this.echo >= echoes) this.echo = 0 // a look from another frame has no lags
    this.thumbnails.forEach((node, e) => {
      node.hidden = e >= echoes
      node.setAttribute("aria-pressed", e === this.echo)
      if (e < echoes) drawEcho(node.firstChild, look.rho, size, e, mapping(e, range, this.root.dataset.theme))
    })
    const map = mapping(this.echo, range, this.root.dataset.theme), [low, bar, high, name] = this.scale
    drawEcho(this.chart.canvas, look.rho, size, this.echo, map)
    low.textContent = short(map.low)
    high.textContent = short(map.high)
    bar.style.background = gradient(map.palette)
    name.textContent = meaning(this.echo, this.lags)
    this.chart.drawLines(this.echo === 0 && this.seen ? outline(this.seen.labels, size) : null)
    this.read()
    this.measure(look)
  }

  // components and loops of the look that is shown, where they are known
  get seen() {
    const h = this.homology
    return h && h.step === this.look?.step && h.kind === this.kind ? h : null
  }

  // one question at a time; the drawing after the answer asks for the look shown by then
  async measure(look) {
    if (this.seen || this.measuring) return
    this.measuring = true
    try {
      this.homology = await this.channel.ask("look", {kind: this.kind, step: look.step})
      this.wake()
    } catch {
      // Python keeps this look no longer: the outline stays away
    } finally {
      this.measuring = false
    }
  }

  read() {
    const look = this.look
    if (!look) return
    const {band, sheet} = this.chart.cursor, [bands, sheets, echoes] = look.shape, h = this.seen, label = h?.labels[band][sheet]
    this.readout.replaceChildren(...pairs(["band", this.chart.bandNames[band]], ["phase", this.chart.phase(sheet)], ["echo", this.echo === 0 ? "power" : `lag ${this.lags[this.echo]}`],
      ["density", short(value(look.rho, {bands, sheets, echoes}, band, sheet, this.echo))],
      ...(h ? [["piece", label ? `${label} of ${h.b0}` : "below mean"], ["pieces", String(h.b0)], ["loops", String(h.b1)]] : [])))
  }
}
