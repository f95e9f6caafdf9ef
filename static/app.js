// The page: takes what the channel brings, draws at most as often as the screen needs, and answers keys.
import {Atlas} from "./atlas.js"
import {Channel} from "./channel.js"
import {drawLoss, restyle, Table} from "./charts.js"
import {Disk} from "./disk.js"
import {drawDoctor} from "./doctor.js"
import {$, el, tips, toast} from "./dom.js"
import {Generate} from "./generate.js"
import {Paint} from "./paint.js"
import {Projector} from "./projector.js"
import {Bar, drawLegend, drawRoundtable, drawSample, drawZ, Hud} from "./live.js"
import {Form, Runs} from "./runs.js"
import {ScriptPane} from "./script.js"

const FIGURES = ["loss", "atlas", "history", "comparison"]
const PAGES = ["live", "projector", "generate", "runs", "doctor"]
const SLOW = 250 // ms between two drawings of the curves
const KEYS = {"Space": "pause or resume the run", "F": "follow the newest look", "← →": "one look back or on", "Home / End": "first look, newest look", "P": "play the history", "G": "states or gradients",
  "1 – 4": "echo", "K": "the script pane", "S": "save a checkpoint", "N": "new run", "L, J, W, R, D": "Live, Projector, Generate, Runs, Doctor", "T": "dark or light", "?": "these keys", "arrows": "on the projector: a cell or frequency on; with Shift eight"}
// "8 ": a bare number would come before all other keys
const PAINTING = {"V": "only look", "B, E": "brush, eraser", "I, Q, O": "line, stamp, lasso", "X": "amplify or attenuate", "[ ]": "size", "{ }": "hardness", ", .": "strength", "M, A": "mirror, snap to cells",
  "U, Y, C": "undo, redo, clear (Ctrl+Z, Ctrl+Shift+Z)", "5, 6, 7": "show measured, painted, effect, on either chart", "8 ": "show the spectrum of what is painted", "arrows": "on the atlas: a cell on; with Shift a quarter of one", "Enter": "dab, stamp, begin or end a line, set a corner of the lasso",
  "Shift+Enter": "put the brush down: arrows paint, Enter lifts it", "Esc": "give up what is begun", "on the disk": "arrows move the spot, Enter paints it"}

export function start(link) {
  const page = new Page(link)
  window.workbench = page // for the console, and for tests that look inside
}

class Page {
  constructor(link) {
    this.channel = new Channel(link, {onBatch: (messages, size) => this.take(messages, size), onLost: (gone) => this.lose(gone), onFound: () => this.find()})
    for (const document of Bokeh.documents) document.on_event("connection_lost", () => { this.channel.gone = true })
    const ask = (command, args) => this.channel.ask(command, args)
    this.ask = ask
    this.bar = new Bar(ask, toast)
    this.hud = new Hud()
    this.atlas = new Atlas(ask)
    this.paint = this.atlas.paint = new Paint(this.channel, this.atlas)
    this.script = new ScriptPane($("script"), this.paint, {runtime: JSON.parse($("script").dataset.runtime), worker: new URL("workbench/static/script_worker.js", document.baseURI).href})
    this.disk = new Disk(this.channel, new URL("workbench/static/kernels", document.baseURI).href)
    this.generate = new Generate(ask, this.disk)
    this.projector = new Projector(ask, this.atlas)
    this.runs = new Runs(ask)
    this.form = new Form(ask, (queued) => this.await(queued))
    this.tables = null
    this.status = null
    const bar = document.querySelector(".bar")
    this.drawn = 0
    tips()
    new ResizeObserver(() => document.documentElement.style.setProperty("--bar", `${bar.offsetHeight}px`)).observe(bar) // it may take two lines
    for (const [id, keys] of [["keys", KEYS], ["keys-painting", PAINTING]]) $(id).replaceChildren(...Object.entries(keys).flatMap(([key, what]) => [el("dt", {}, key), el("dd", {}, what)]))
    $("theme").addEventListener("click", () => this.theme())
    $("help").addEventListener("click", () => $("help-dialog").showModal())
    $("script-toggle").addEventListener("click", () => this.toggleScript())
    $("snapshot").addEventListener("click", () => this.snapshot())
    $("twin").addEventListener("click", () => this.twin())
    $("doctor-again").addEventListener("click", () => drawDoctor(ask))
    addEventListener("hashchange", () => this.route())
    addEventListener("keydown", (event) => this.key(event))
    restyle(FIGURES)
    this.atlas.watchPointer()
    this.route(true)
  }

  // --- where the page is: #/PAGE?run=RUN ---

  get place() {
    const [, page, query] = location.hash.match(/^#\/(\w+)(?:\?(.*))?$/) ?? [null, "live", ""]
    return {page: PAGES.includes(page) ? page : "live", run: new URLSearchParams(query ?? "").get("run")}
  }

  route(first = false) {
    const {page, run} = this.place
    for (const name of PAGES) $(`page-${name}`).hidden = name !== page
    for (const link of document.querySelectorAll("[data-page]")) {
      if (link.dataset.page === page) link.setAttribute("aria-current", "page")
      else link.removeAttribute("aria-current")
    }
    if (first || (run && run !== this.run)) this.hello(run)
    this.projector.show(page === "projector")
    if (page === "generate") this.disk.open()
    if (page === "runs") this.runs.refresh()
    if (page === "doctor") drawDoctor(this.ask)
    if (page === "live") this.draw(true)
  }

  // this.run is what was asked for last: answers and batches of an earlier choice may still come
  async hello(run) {
    this.run = run
    try {
      const answer = await this.ask("hello", run ? {run} : {})
      this.form.setChoices(answer.choices)
      if (this.run === run) this.run = answer.run
      this.explain()
    } catch (error) {
      this.notice(error.message)
      if (run && this.run === run) { history.replaceState(null, "", "#/live"); this.hello(null) }
    }
  }

  // a run that was asked for here is shown as soon as it is there
  await(queued) {
    this.awaited = queued
    location.hash = "#/live"
    toast(this.status?.queue.some((i) => i.state === "running") ? "Queued: it starts when the run at work is over." : "Started: reading the text first.")
  }

  // --- what the server says ---

  take(messages, size) {
    this.hud.count(size)
    for (const [i, message] of messages.entries()) {
      if (message.kind === "series") this.tables?.[message.chart].take(message.values, message.shape)
      else if (message.kind === "field") this.atlas.take(message)
      else if (message.kind === "file") this.download(message.values)
      else if (message.kind === "text") this.text(message.json, ...messages.slice(i + 1, i + 4))
    }
    this.draw(false, messages.some((m) => m.kind === "field"))
  }

  // what belongs to a text comes right after it
  text(said, layers, image, spectrum) {
    if (said.type === "status") this.heed(said)
    else if (said.type === "facts") this.begin(said)
    else if (said.type === "history") this.atlas.forget()
    else if (said.type === "sample") drawSample(said)
    else if (said.type === "layer") this.paint.takeLayer(said, layers)
    else if (said.type === "strokes") this.paint.takeStrokes(said.strokes, layers)
    else if (said.type === "gains") this.paint.takeGains(said, layers, image)
    else if (said.type === "effect") this.paint.takeEffect(said)
    else if (said.type === "projection") this.projector.take(said, layers, image, spectrum)
    else if (said.type === "patches") this.projector.takePatches(said, layers)
    else if (said.type === "writing") this.generate.take(said.news)
    else if (said.type === "problem") this.notice(said.reason)
  }

  begin(facts) {
    this.facts = facts
    this.tables = Object.fromEntries(Object.entries(facts.columns).map(([name, columns]) => [name, new Table(columns)]))
    this.script.stop()
    this.paint.begin(facts)
    this.atlas.begin(facts)
    this.disk.begin(facts)
    this.projector.begin(facts)
    if (this.status?.run === facts.run) this.paint.heed(this.status.state.status) // it came just before the facts
    $("effect-empty").hidden = false
    $("effect").hidden = $("twin").hidden = true
    $("effect-curves").replaceChildren()
    $("effect-text").textContent = ""
    $("sample").replaceChildren()
    $("sample-step").textContent = ""
    this.generate.forget()
    this.runs.shown = facts.run
    this.notice(null)
    if (facts.notes.length) toast(facts.notes[0])
    this.drawn = 0
  }

  heed(status) {
    const before = this.status
    this.status = status
    if (status.refusal) toast(`Refused (${status.refusal.code}): ${status.refusal.reason}`)
    const failed = status.queue.find((i) => i.state === "failed")
    if (failed && before && !before.queue.some((i) => i.id === failed.id && i.state === "failed")) this.notice(`The run could not go on: ${failed.reason}`)
    const wanted = status.queue.find((i) => i.run && (i.id === this.awaited || !status.run))
    if (wanted && wanted.run !== this.run) {
      if (wanted.id === this.awaited) this.awaited = null
      this.hello(wanted.run)
    }
    this.runs.drawQueue(status.queue)
    if (status.run === this.facts?.run) {
      const turned = status.state.status !== this.paint.status
      this.paint.heed(status.state.status)
      this.disk.heed(status.state.saved)
      if (turned) this.projector.draw() // it says what ended
    }
    if (this.place.page === "runs" && before && signature(before) !== signature(status)) this.runs.refresh()
    this.explain()
  }

  explain() {
    const none = !this.status?.run
    for (const name of ["live", "projector"]) {
      $(`${name}-empty`).hidden = !none
      document.querySelector(`.${name}`).hidden = none
    }
    if (!none) return
    const busy = this.status?.queue.some((i) => ["waiting", "preparing"].includes(i.state))
    for (const name of ["live", "projector"]) $(`${name}-empty`).replaceChildren(...(busy ? [el("b", {}, "Reading the text"), "The run starts in a moment."]
      : this.status ? [el("b", {}, "No run yet"), "Press N, choose a folder of texts, and watch a model learn from it."] : [el("b", {}, "Connecting")]))
  }

  toggleScript() {
    const open = $("script").hidden
    $("script").hidden = !open
    $("script-toggle").setAttribute("aria-pressed", open)
    if (open) this.script.text.focus()
    else this.script.stop()
  }

  // --- drawing ---

  draw(all, field) {
    if (!this.status || document.hidden) return
    const live = this.place.page === "live"
    if (live && (field || all)) this.atlas.draw()
    const now = performance.now()
    if (!all && now - this.drawn < SLOW) return
    this.drawn = now
    this.bar.draw(this.status, this.facts)
    this.hud.draw(this.status)
    if (!live || !this.tables || this.status.run !== this.facts.run) return
    const {train, validation, looks} = this.tables
    const grown = `${train.length} ${train.get("step").at(-1)} ${validation.length}`
    if (all || grown !== this.grown) {
      this.grown = grown
      drawLoss(train, validation, this.facts.baselines)
      drawLegend(train, validation)
    }
    const looked = `${looks.length} ${looks.get("step").at(-1)} ${this.atlas.kind}`
    if (all || looked !== this.looked) {
      this.looked = looked
      this.atlas.drawHistory(looks)
      drawZ(looks)
    }
    drawRoundtable(looks, this.status.state.streams)
  }

  theme() {
    const root = document.documentElement
    root.dataset.theme = root.dataset.theme === "light" ? "dark" : "light"
    localStorage.setItem("theme", root.dataset.theme)
    restyle(FIGURES)
    this.paint.theme()
    this.disk.draw()
    this.projector.draw()
    this.draw(true)
  }

  async twin() {
    try {
      const {twin} = await this.ask("twin")
      toast(`The unpainted twin ${twin} runs beside this run.`)
    } catch (error) {
      toast(error.message)
    }
  }

  notice(sentence, level = "bad") {
    const node = $("notice")
    node.hidden = !sentence
    node.dataset.level = level
    if (sentence) node.replaceChildren(el("span", {}, sentence), el("span", {class: "fill"}), el("button", {class: "plain", onclick: () => { node.hidden = true }}, "Dismiss"))
  }

  lose(gone) {
    $("run-state").dataset.state = "lost"
    $("run-state").textContent = gone ? "server lost" : "server busy"
    this.notice(gone ? "The server does not answer. A run at work goes on by itself; this page comes back as soon as the server does." : "The server is slow to answer: this machine is busy. A run at work goes on by itself.", "wait")
  }

  find() {
    this.notice(null)
    this.draw(true)
  }

  async snapshot() {
    try {
      this.saving = (await this.ask("snapshot", {theme: document.documentElement.dataset.theme, kind: this.atlas.kind})).name
      this.keep()
    } catch (error) {
      toast(error.message)
    }
  }

  download(values) {
    this.file = new Blob([values], {type: "image/png"})
    this.keep()
  }

  keep() { // the file and its name come in two messages, in either order
    if (!this.file || !this.saving) return
    const url = URL.createObjectURL(this.file)
    el("a", {href: url, download: this.saving}).click()
    setTimeout(() => URL.revokeObjectURL(url), 10000)
    this.file = this.saving = null
  }

  // --- keys ---

  key(event) {
    if (event.target.type === "range" && event.target.form && event.key.startsWith("Arrow")) return // it moves the slider
    const typing = event.target.type !== "range" && /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && event.target.type !== "checkbox"
    const tools = this.paint.tools
    if (typing || tools.chord(event) || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return
    const onButton = event.target.closest?.("button, a, [role=button]")
    const act = {
      " ": () => this.bar.toggle(), f: () => this.atlas.follow(true), k: () => this.toggleScript(), s: () => this.bar.save(), n: () => this.form.show(), t: () => this.theme(),
      "?": () => $("help-dialog").showModal(), l: () => { location.hash = "#/live" }, w: () => { location.hash = "#/generate" }, r: () => { location.hash = "#/runs" }, d: () => { location.hash = "#/doctor" },
      ArrowLeft: () => this.atlas.step(-1), ArrowRight: () => this.atlas.step(1), Home: () => this.atlas.go(0), End: () => this.atlas.follow(true),
      ...tools.keys,
      j: () => { location.hash = "#/projector" },
      ...(this.place.page === "generate" ? this.disk.keys : {}), p: () => this.atlas.play(),
      g: () => document.querySelector(`[data-kind="${this.atlas.kind === "state" ? "gradient" : "state"}"]`).click(),
      ...Object.fromEntries([1, 2, 3, 4].map((i) => [String(i), () => document.querySelector(`[data-echo="${i - 1}"]`).click()])),
    }[event.key.length === 1 ? event.key.toLowerCase() : event.key]
    if (!act || event.defaultPrevented || (onButton && [" ", "Enter"].includes(event.key))) return
    event.preventDefault()
    act()
  }
}

const signature = (status) => JSON.stringify([status.state.status, status.queue])

