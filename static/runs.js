// The list of runs, the queue, and the form for a new run.
import {Comparison} from "./comparison.js"
import {$, el, fixed, toast, whole} from "./dom.js"

const MOST = 32

export class Runs {
  constructor(ask, open) {
    this.ask = ask
    this.open = open
    this.marked = new Set()
    this.list = []
    $("runs-filter").addEventListener("input", () => this.draw())
    this.compared = new Comparison()
    $("compare").addEventListener("click", () => this.compare())
  }

  async refresh() {
    try {
      const answer = await this.ask("runs")
      this.list = answer.runs
      this.root = answer.root
      this.draw()
    } catch (error) {
      toast(error.message)
    }
  }

  draw() {
    const wanted = $("runs-filter").value.toLowerCase()
    const rows = this.list.filter((r) => [r.run, r.status, r.model, r.preset].join(" ").toLowerCase().includes(wanted))
    const names = new Set(this.list.map((r) => r.run))
    for (const run of this.marked) if (!names.has(run)) this.marked.delete(run)
    $("compare").disabled = this.marked.size < 2 || this.marked.size > MOST
    $("compare").textContent = this.marked.size < 2 ? "Mark two runs to compare" : `Compare ${this.marked.size} runs`
    if (!this.list.length) {
      $("runs-table").replaceChildren(el("div", {class: "empty"}, el("b", {}, "No runs yet"), `Press N to start one. Runs are kept in ${this.root ?? "the runs folder"}.`))
      return
    }
    const best = (r) => r.final ?? r.validation ?? r.train
    $("runs-table").replaceChildren(rows.length ? el("table", {},
      el("thead", {}, el("tr", {}, ...["", "run", "status", "model", "progress", "bits/char", "unigram", "patches", "started"].map((t, i) => el("th", {class: i >= 4 && i <= 7 ? "right" : ""}, t)))),
      el("tbody", {}, ...rows.map((r) => el("tr", {class: r.run === this.shown ? "shown" : ""},
        el("td", {}, el("input", {type: "checkbox", "aria-label": `mark ${r.run}`, style: "height:16px", ...(this.marked.has(r.run) ? {checked: true} : {}), onchange: (e) => this.mark(r.run, e.target.checked)})),
        el("td", {}, el("a", {href: `#/live?run=${encodeURIComponent(r.run)}`}, r.run)),
        el("td", {}, el("span", {class: "pill", "data-state": r.status, ...(r.reason ? {"data-tip": r.reason} : {})}, r.status)),
        el("td", {}, r.model ? `${r.model} ${r.preset}` : ""),
        el("td", {class: "right"}, r.steps ? `${whole(r.step)} / ${whole(r.steps)}` : ""),
        el("td", {class: "right"}, fixed(best(r), 3)), el("td", {class: "right"}, fixed(r.baselines?.unigram, 3)),
        el("td", {class: "right"}, r.patches == null ? "" : whole(r.patches)), el("td", {}, r.created ? new Date(r.created).toLocaleString([], {dateStyle: "short", timeStyle: "short"}) : ""))))) :
      el("div", {class: "empty"}, el("b", {}, "Nothing matches"), "Clear the filter to see all runs."))
  }

  mark(run, on) {
    if (on) this.marked.add(run)
    else this.marked.delete(run)
    this.draw()
  }

  // only when it changed: a button that is replaced between press and release is never clicked
  drawQueue(queue) {
    const text = JSON.stringify(queue)
    if (text === this.queued) return
    this.queued = text
    const rows = queue.filter((i) => i.state !== "running").map((i) => el("div", {class: "waiting"},
      el("span", {class: "pill", "data-state": i.state}, i.state === "preparing" ? "reading the text" : i.state),
      el("span", {}, i.run ?? `${i.preset ?? ""} on ${i.paths.map((p) => p.split("/").at(-1)).join(", ")}`),
      i.reason ? el("span", {class: "bad"}, i.reason) : null,
      i.state === "waiting" ? el("button", {class: "plain", onclick: () => this.ask("cancel", {id: i.id}).catch((e) => toast(e.message))}, "Cancel") : null))
    $("queue").replaceChildren(...rows)
  }

  async compare() {
    const runs = [...this.marked]
    try {
      this.compared.show(runs, await this.ask("compare", {runs}))
    } catch (error) {
      toast(error.message)
    }
  }
}

export class Form {
  constructor(ask, started) {
    this.ask = ask
    this.started = started
    this.dialog = $("run-dialog")
    this.form = this.dialog.querySelector("form")
    $("new-run").addEventListener("click", () => this.show())
    $("run-cancel").addEventListener("click", () => this.dialog.close())
    this.form.addEventListener("submit", (e) => { e.preventDefault(); this.start() })
    this.form.elements.model.addEventListener("change", () => this.sizes(this.form.elements.preset.value))
    this.form.elements.preset.addEventListener("change", () => { this.form.elements.steps.value = ""; this.hint() })
  }

  // what there is to choose from comes with the first answer; what was typed before it, or chosen after it, stays
  setChoices(choices) {
    if (this.choices) return
    this.choices = choices
    const options = (values) => values.map((v) => el("option", {value: v}, v))
    const fields = this.form.elements
    fields.model.replaceChildren(...options(Object.keys(choices.models)))
    fields.backend.replaceChildren(...options(choices.backends))
    fields.optimiser.replaceChildren(...options(choices.optimisers))
    fields.schedule.replaceChildren(...options(choices.schedules))
    fields.split.replaceChildren(...options(choices.splits))
    this.sizes(choices.first.preset)
    if (!fields.paths.value) {
      fields.paths.value = choices.first.paths.join(", ")
      if (document.activeElement === fields.paths) fields.paths.select()
    }
    if (!fields.steps.value) fields.steps.value = choices.first.steps
    this.hint()
    for (const node of [fields.preset, fields.model, fields.backend, fields.optimiser, fields.schedule, fields.split, $("run-start")]) node.disabled = false
    $("run-wait").hidden = true
  }

  sizes(chosen) {
    const {model, preset} = this.form.elements
    const text = (name, {layers, width}) => `${name}: ${layers} layers of ${width}`
    preset.replaceChildren(...Object.entries(this.choices.models[model.value]).map(([name, size]) => el("option", {value: name}, text(name, size))))
    preset.value = chosen
  }

  hint() {
    const {steps, dropout, preset} = this.form.elements
    const usual = this.choices.presets.find((p) => p.name === preset.value)
    steps.placeholder = String(usual.steps)
    dropout.placeholder = String(usual.dropout)
  }

  async show() {
    if (this.dialog.open) return
    $("run-error").textContent = ""
    this.dialog.showModal()
    this.form.elements.paths.select()
    try {
      const {folders, root} = await this.ask("folders")
      $("folders").replaceChildren(...folders.map((f) => el("option", {value: f.path}, `${f.files} files, ${whole(f.bytes)} bytes`)))
      $("paths-hint").textContent = `a folder or file inside ${root}, or several with commas between`
    } catch (error) {
      $("run-error").textContent = error.message
    }
  }

  async start() {
    const fields = this.form.elements
    const steps = fields.steps.value.trim(), dropout = fields.dropout.value.trim()
    $("run-start").disabled = true
    try {
      const {queued} = await this.ask("start", {paths: fields.paths.value.split(",").map((p) => p.trim()).filter(Boolean), model: fields.model.value,
        preset: fields.preset.value, backend: fields.backend.value, seed: Number(fields.seed.value), optimiser: fields.optimiser.value,
        schedule: fields.schedule.value, accumulate: Number(fields.accumulate.value), patience: Number(fields.patience.value), split: fields.split.value,
        ...(steps ? {steps: Number(steps)} : {}), ...(dropout ? {dropout: Number(dropout)} : {})})
      this.dialog.close()
      this.started(queued)
    } catch (error) {
      $("run-error").textContent = error.message
    } finally {
      $("run-start").disabled = false
    }
  }
}
