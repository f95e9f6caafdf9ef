// The script pane: Python that a user writes, run in this page, paints on the canvas as a hand does.
import {el} from "./dom.js"

const LIMIT = 10000 // ms that a script has, and each painting of its field
const PERIOD = 250 // ms between two paintings of a field that moves
const LASTS = 60 // seconds that it moves
const INDENT = "    "
const LONGEST = 100000 // characters of a script
const FIRST = `# A field: the log2 gain at phase x, in turns,
# and height y, 0..1 from the lowest band up;
# t is seconds since Run.
def field(t, x, y):
    wave = math.sin(2 * math.pi * (x - t / 8))
    return 2 * y * wave

# Or strokes, as by hand (no import is needed):
# canvas.stroke([(0.1, 0.2), (0.3, 0.6)])
# canvas.line((0.5, 0.1), (0.9, 0.1), sign=-1)
# canvas.stamp((0.25, 0.5), (0.5, 0.75))
# canvas.lasso([(0.6, 0), (0.9, 0), (0.7, 1)])
# canvas.clear()
`

/** Python in a worker: one question at a time, each with a time limit; ending it is the only way to stop a script. */
class Python {
  constructor(url, onPrint) {
    this.url = url
    this.onPrint = onPrint
  }

  /** Start it, if it is not there yet. */
  start() {
    this.starting ??= new Promise((resolve, reject) => {
      this.worker = new Worker(this.url, {type: "module"})
      this.worker.onmessage = ({data}) => {
        if (data.ready) resolve()
        else if (data.printed) this.onPrint(data.printed)
        else if (data.broken) this.end(data.broken)
        else if (data.error) this.settle("reject", Object.assign(new Error(data.error.sentence), data.error))
        else this.settle("resolve", data.answer)
      }
      this.worker.onerror = (event) => this.end(`Python broke down: ${event.message || "its files could not be loaded"}`)
      this.fail = reject
    })
    return this.starting
  }

  async ask(question) {
    await this.start()
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.end(`Stopped: a script has ${LIMIT / 1000} s, and this one was not done.`), LIMIT)
      this.waiting = {resolve, reject, timer}
      this.worker.postMessage(question)
    })
  }

  settle(how, value) {
    const waiting = this.waiting
    if (!waiting) return
    this.waiting = null
    clearTimeout(waiting.timer)
    waiting[how](value)
  }

  /** End whatever runs; the next question starts Python anew. */
  end(sentence) {
    this.worker?.terminate()
    this.fail?.(new Error(sentence))
    this.worker = this.starting = this.fail = null
    this.settle("reject", new Error(sentence))
  }
}

export class ScriptPane {
  // root: an empty element; target: where is painted, see `Paint`; runtime: what `make browser` staged, or null; worker: URL of script_worker.js
  constructor(root, target, {runtime, worker}) {
    this.root = root
    this.target = target
    this.python = new Python(worker, (text) => this.print(text))
    this.turn = 0 // counts runs: what comes of an older one is left alone
    this.text = el("textarea", {id: "script-text", "aria-label": "script: Escape, then Tab leaves it", spellcheck: "false", autocapitalize: "off", autocomplete: "off", wrap: "off", maxlength: LONGEST})
    this.lines = el("pre", {class: "num", "aria-hidden": "true"})
    this.start = el("button", {type: "button", class: "primary", id: "script-run", "data-tip": "Run the script and paint what it says (Ctrl+Enter)", onclick: () => this.run()}, "Run")
    this.halt = el("button", {type: "button", class: "toggle", id: "script-stop", disabled: true, "data-tip": "End the script, whatever it does", onclick: () => this.stop()}, "Stop")
    this.state = el("span", {class: "num quiet", id: "script-state", role: "status"})
    this.problem = el("p", {class: "bad", id: "script-error", role: "alert"})
    this.output = el("pre", {id: "script-output", tabindex: 0, role: "log", "aria-label": "what the script printed"})
    const name = runtime ? `Python ${runtime.python}, ${runtime.numpy ? `NumPy ${runtime.numpy}` : "without NumPy"}` : ""
    root.append(
      el("header", {}, el("h2", {"data-tip": "Python in this page, with the canvas package of the server: a field over the atlas, or strokes. It never runs on the server"}, "Script"), el("span", {class: "quiet", id: "script-python"}, name), el("span", {class: "fill"}), this.halt, this.start),
      el("div", {class: "editor"}, this.lines, this.text), this.state, this.problem, this.output)
    this.text.value = localStorage.getItem("script") ?? FIRST
    this.text.addEventListener("input", () => { localStorage.setItem("script", this.text.value); this.number() })
    this.text.addEventListener("scroll", () => { this.lines.scrollTop = this.text.scrollTop })
    this.text.addEventListener("keydown", (event) => this.key(event))
    this.text.addEventListener("blur", () => { this.leaving = false })
    this.start.disabled = !runtime
    if (!runtime) this.say("There is no Python in this page's files: run make browser in the workbench's folder, then load the page again.")
    this.number()
  }

  // --- the editor ---

  // Escape gives Tab back to the page
  key(event) {
    const leaving = this.leaving
    this.leaving = event.key === "Escape" || (leaving && event.key === "Shift")
    const {selectionStart: at, value} = this.text, before = value.slice(value.lastIndexOf("\n", at - 1) + 1, at)
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.run()
    else if (event.key === "Tab" && event.shiftKey && !leaving) this.dedent(at - before.length)
    else if (event.key === "Tab" && !leaving) insert(INDENT.slice(before.length % INDENT.length))
    else if (event.key === "Enter" && !event.shiftKey) insert(`\n${before.match(/^ */)[0]}${before.trimEnd().endsWith(":") ? INDENT : ""}`)
    else return
    event.preventDefault()
  }

  dedent(from) {
    const {value, selectionStart: at} = this.text, blank = value.slice(from).match(/^ {0,4}/)[0].length
    if (!blank) return
    this.text.setSelectionRange(from, from + blank)
    document.execCommand("delete")
    this.text.setSelectionRange(Math.max(at - blank, from), Math.max(at - blank, from))
  }

  number(bad = null) {
    const count = this.text.value.split("\n").length
    this.lines.replaceChildren(...[...Array(count).keys()].map((i) => el("span", {class: i + 1 === bad ? "bad" : null}, `${i + 1}\n`)))
    this.lines.scrollTop = this.text.scrollTop
  }

  // --- running ---

  async run() {
    if (this.start.disabled || this.running) return
    const closed = this.target.closed
    if (closed) return this.say(closed)
    const turn = ++this.turn, {bands, sheets} = this.target.grid
    this.show(true)
    this.blame(null)
    this.output.textContent = ""
    this.printed = null
    this.say(this.python.worker ? "running" : "starting Python")
    try {
      await this.python.start()
      this.say("running")
      const found = await this.python.ask({text: this.text.value, bands, sheets})
      this.tellLeft(found.left)
      if (found.field) await this.paintField(turn, found.moves)
      else if (found.strokes.length) await this.paintStrokes(turn, found.strokes)
      else this.say("done: it defines no field and painted no stroke")
    } catch (error) {
      if (turn === this.turn) this.blame(error)
    } finally {
      if (turn === this.turn) this.show(false)
    }
  }

  async paintStrokes(turn, strokes) {
    const surface = await this.target.ready()
    if (turn !== this.turn) return
    surface.cancel()
    for (const {points, ...how} of strokes) surface.stroke(points, how)
    this.say(`painted ${strokes.length} ${strokes.length === 1 ? "stroke" : "strokes"}`)
    this.target.painted("script painted")
  }

  // a field that looks at its time is painted again and again, as one step of the painting
  async paintField(turn, moves) {
    const surface = await this.target.ready(), begun = performance.now()
    for (let time = 0, again = false; ; again = true) {
      const relation = await this.python.ask({time})
      if (turn !== this.turn || surface !== this.target.surface) return
      if (!this.target.busy) {
        surface.level(relation, again)
        this.target.painted("field painted")
      }
      this.say(moves ? `painting, t = ${time.toFixed(1)} s` : "painted")
      const wait = begun + 1000 * time + PERIOD - performance.now()
      if (moves) await new Promise((resolve) => setTimeout(resolve, Math.max(wait, 0)))
      if (turn !== this.turn) return
      time = (performance.now() - begun) / 1000
      if (!moves || time > LASTS) break
      if (this.target.closed) return this.say(this.target.closed)
    }
    if (moves) this.say(`painted for ${LASTS} s`)
  }

  stop() {
    if (!this.running) return
    this.turn++
    this.python.end("")
    this.show(false)
    this.say("stopped")
  }

  show(running) {
    this.running = running
    this.halt.disabled = !running
    this.start.disabled = running
  }

  // --- what came of it ---

  say(sentence) { this.state.textContent = sentence }

  // a line may come a thousand times a second, and is laid out once a frame
  print(text) {
    this.printed = (this.printed ?? "") + text
    this.printing ??= requestAnimationFrame(() => {
      const down = this.output.scrollHeight - this.output.scrollTop - this.output.clientHeight < 4
      this.output.append(this.printed ?? "")
      if (down) this.output.scrollTop = this.output.scrollHeight
      this.printed = this.printing = null
    })
  }

  tellLeft(left) {
    if (left) this.print(`\n… and ${left} more characters: a script shows what it prints first`)
  }

  blame(error) {
    this.number(error?.line)
    this.problem.textContent = !error ? "" : error.line ? `line ${error.line}: ${error.message}` : error.message
    if (!error) return
    this.say("")
    this.tellLeft(error.left)
    if (error.calls?.length > 1) this.print(`\n${error.calls.join("\n")}\n`)
    if (error.line) this.lines.children[error.line - 1]?.scrollIntoView({block: "nearest"})
  }
}

const insert = (text) => document.execCommand("insertText", false, text) // unlike setting the value it can be undone
