// Runs side by side: curves of groups that differ in more than their seed, what differs, and by how much.
import {clear, fill, model, set} from "./charts.js"
import {$, el, fixed, whole} from "./dom.js"

const AXES = {step: "step", time: "seconds at work", characters: "characters seen"}

export class Comparison {
  constructor() {
    this.by = "step"
    this.log = {x: false, y: false}
    for (const button of document.querySelectorAll("[data-by]")) button.addEventListener("click", () => { this.by = button.dataset.by; this.draw() })
    for (const button of document.querySelectorAll("[data-log]")) {
      button.addEventListener("click", () => { this.log[button.dataset.log] = !this.log[button.dataset.log]; this.draw() })
    }
    $("compare-smooth").addEventListener("input", () => this.draw())
  }

  show(runs, answer) {
    Object.assign(this, {runs, ...answer})
    $("compare-card").hidden = false
    clear("comparison")
    this.draw()
    $("compare-legend").replaceChildren(...this.groups.map((g, i) => el("span", {}, el("i", {class: "line", style: `background:${this.colours[i]}`}), named(g))))
    this.drawGroups()
    this.drawSettings()
    $("compare-card").scrollIntoView({block: "nearest"})
  }

  draw() {
    for (const button of document.querySelectorAll("[data-by]")) button.setAttribute("aria-pressed", button.dataset.by === this.by)
    for (const button of document.querySelectorAll("[data-log]")) button.setAttribute("aria-pressed", this.log[button.dataset.log])
    const scale = Number($("compare-smooth").value) ** 2
    $("compare-smooth-value").textContent = scale ? `${scale} steps` : "off"
    this.drawAxes()
    const {by, colours, curves, groups} = this
    const members = groups.flatMap((g, i) => g.runs.map((r) => ({...curves[r], colour: colours[i]})))
    fill("compare-train", {xs: members.map((c) => c[by]), ys: members.map((c) => smooth(c, scale)), colour: members.map((c) => c.colour)})
    fill("compare-means", {xs: groups.map((g) => g.curve[by]), ys: groups.map((g) => g.curve.bits), colour: colours.slice(0, groups.length)})
    const points = groups.flatMap(({curve, ...g}, i) => curve.step.map((step, k) => {
      const bits = curve.bits[k], error = curve.error?.[k] ?? 0
      return {x: curve[by][k], bits, low: bits - error, high: bits + error, colour: colours[i], group: named(g), step, error: curve.error ? fixed(error, 4) : "one seed"}
    }))
    const names = ["x", "bits", "low", "high", "colour", "group", "step", "error"]
    fill("compare-dots", Object.fromEntries(names.map((name) => [name, points.map((p) => p[name])])))
  }

  drawAxes() {
    const figure = model("comparison-figure")
    for (const [side, axis] of [["x", figure.below[0]], ["y", figure.left[0]]]) {
      const kind = this.log[side] ? "Log" : "Linear"
      if (figure[`${side}_scale`].type !== `${kind}Scale`) {
        const ticker = this.log[side] ? make("LogTicker", {}) : make("BasicTicker", {min_interval: side === "x" ? 1 : 0})
        axis.setv({ticker}, {sync: false})
        set("comparison-figure", {[`${side}_scale`]: make(`${kind}Scale`, {})})
        figure[`${side}_range`].setv({scale_hint: this.log[side] ? "log" : "auto"}, {sync: false})
        for (const part of ["train", "means", "dots"]) empty(`compare-${part}`) // ranges follow data that change
      }
    }
    figure.below[0].setv({axis_label: AXES[this.by]}, {sync: false})
  }

  drawGroups() {
    const columns = ["runs that differ in their seed alone", "seeds", "at step", "held out, bits/char", "spread", "minus the first"]
    $("compare-groups").replaceChildren(el("table", {}, el("thead", {}, el("tr", {}, ...columns.map((c, i) => el("th", {class: i ? "right" : ""}, c)))),
      el("tbody", {}, ...this.groups.map((g, i) => {
        const d = this.differences[i - 1]
        const minus = d && d.mean != null ? `${d.mean < 0 ? "" : "+"}${within(d.mean, d.error)}${d.pairs ? `, ${d.pairs} pairs` : ""}` : ""
        return el("tr", {}, el("td", {class: "wrap"}, g.label), ...[g.seeds.length, span(g.steps), within(g.mean, g.error), fixed(g.spread, 4), minus].map((text) => el("td", {class: "right num"}, String(text))))
      }))))
  }

  drawSettings() {
    const {runs, settings} = this
    const of = Object.fromEntries(this.summaries.map((s) => [s.run, s]))
    const line = (name, value) => el("tr", {}, el("td", {}, name), ...runs.map((r) => el("td", {class: "wrap num"}, value(r))))
    $("compare-table").replaceChildren(el("table", {}, el("thead", {}, el("tr", {}, el("th", {}, "what differs"), ...runs.map((r) => el("th", {}, r)))),
      el("tbody", {}, line("validation, bits/char", (r) => fixed(of[r].validation, 3)), line("whole held-out part, bits/char", (r) => (of[r].final == null ? "–" : `${fixed(of[r].final, 3)} (${of[r].interval.map((v) => fixed(v, 3)).join(" to ")})`)),
        ...Object.entries(settings).map(([name, values]) => line(name, (r) => brief(values[r]))),
        ...(Object.keys(settings).length ? [] : [el("tr", {}, el("td", {colspan: runs.length + 1, class: "quiet"}, "no setting differs"))]))))
  }
}

const empty = (name) => fill(name, Object.fromEntries(Object.keys(model(name).data).map((column) => [column, []])))
const make = (type, values) => new (Bokeh.Models.get(type))(values)
const named = ({label, seeds}) => (seeds.length > 1 ? `${label} (${seeds.length} seeds)` : label)
const within = (mean, error) => (error == null ? fixed(mean, 4) : `${fixed(mean, 4)} ± ${fixed(error, 4)}`)

// the steps that figures are from
function span(steps) {
  const known = steps.filter((s) => s != null), [low, high] = [Math.min(...known), Math.max(...known)]
  return !known.length ? "–" : low === high ? whole(low) : `${whole(low)} to ${whole(high)}`
}

// as core.runs.curves.Curve.smoothed does
function smooth({step, bits}, scale) {
  if (!scale) return bits
  let total = 0, weight = 0
  return bits.map((value, i) => {
    const keep = i ? Math.exp((step[i - 1] - step[i]) / scale) : 0
    total = total * keep + value
    weight = weight * keep + 1
    return total / weight
  })
}

function brief(value) {
  const text = value == null ? "–" : typeof value === "string" ? value : JSON.stringify(value)
  return text.length > 48 ? `${text.slice(0, 32)}… (${whole(text.length)} characters)` : text
}
