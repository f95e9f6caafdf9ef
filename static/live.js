// The bar, the link's health, the sample, the roundtable and the z metrics.
import {$, bytes, duration, el, fixed, svg, whole} from "./dom.js"

const LIVE = ["running", "paused"]
const LANES = ["above", "here", "beneath"]
const Z = { // column of the looks: word, meaning
  speed: ["speed", "Line: how fast the mean state moves over a window. Observed: characters a second, of the most that recent steps reached"],
  memory: ["memory", "Line: the mean state's level. Observed: size r of the activations at the tap, l / (1 + l) with l = ln(1 + r)"],
  stability: ["stability", "Line: how evenly the mean state moves. Observed: mean / (mean + deviation) of the last losses"],
  frac: ["fine share", "How far up the spectrum the mean state's energy lies"],
  drs: ["drift", "Line: energy above the middle of the spectrum against below. Observed: how much the model's expectation changes when one character of a held-out prompt does"],
  confidence: ["confidence", "How well what is observed fits what the latent says, lowered by telemetry that is uneven"],
  health: ["health", "1 - mean of: loss as a share of guessing, size of the gradient, size of the update, change of the states"],
  painted: ["canvas", "How strongly the painted layer steers: the mean square of its gains, 1 at most"],
}
const SPEED = "Median time of the last 50 steps, and characters learned from a second"
const WORDS = {created: "waiting", interrupted: "interrupted", preparing: "reading the text"}

export class Bar {
  constructor(ask, say) {
    this.ask = ask
    this.say = say
    $("do-pause").addEventListener("click", () => this.toggle())
    $("do-stop").addEventListener("click", () => this.order(this.alive ? "stop" : "go_on"))
    $("do-save").addEventListener("click", () => this.save())
  }

  get alive() {
    return LIVE.includes(this.status)
  }

  toggle() {
    if (this.alive) this.order(this.status === "paused" ? "resume" : "pause")
  }

  async save() {
    if (this.alive && (await this.order("save"))) this.say("A checkpoint is being written.")
  }

  async order(command) {
    try {
      await this.ask(command, {run: this.run})
      return true
    } catch (error) {
      this.say(error.message)
      return false
    }
  }

  draw({run, state, queue}, facts) {
    const preparing = queue.find((i) => i.state === "preparing")
    const waiting = queue.filter((i) => i.state === "waiting").length
    this.run = run
    this.status = state.status
    const shown = run ? this.status : preparing ? "preparing" : "none"
    $("run-name").textContent = run ?? (preparing ? "a new run" : "no run yet")
    $("run-about").textContent = facts && run ? `${facts.model} ${facts.preset}, seed ${facts.seed}` : ""
    const pill = $("run-state")
    pill.dataset.state = shown
    pill.textContent = (WORDS[shown] ?? (shown === "none" ? "idle" : shown)) + (waiting ? `, ${waiting} queued` : "")
    const steps = facts?.steps ?? 0
    $("step").textContent = run && facts ? `step ${whole(state.step ?? 0)} / ${whole(steps)}` : ""
    $("progress").value = steps ? (state.step ?? 0) / steps : 0
    $("progress").hidden = !run
    $("left").textContent = state.seconds_left != null ? `${duration(state.seconds_left)} left` : ""
    const back = state.rollback
    $("rollback").hidden = !back
    if (back) {
      $("rollback").textContent = `back to step ${whole(back.to)} at ${whole(back.step)}`
      $("rollback").dataset.tip = `${back.reason}${back.tensor ? `; first not finite: ${back.tensor} out of ${back.op}` : ""}. The learning rate is ${fixed(back.rate_factor, 3)} of the asked one since`
    }
    const why = facts?.backend_reason ?? ""
    const probed = why && !["argument", "ZSPACE_BACKEND"].includes(why) // nobody asked for it by name
    $("speed").dataset.tip = `${SPEED}${why && `; ${facts.backend} was taken ${probed ? `because ${why}` : `as the ${why} says`}`}`
    $("speed").textContent = state.step_seconds ? [facts?.backend, `${fixed(1000 * state.step_seconds, 1)} ms/step`, `${whole(state.characters_per_second)} char/s`].join(" · ") : ""
    const paused = this.status === "paused"
    const pause = $("do-pause"), stop = $("do-stop")
    pause.disabled = !this.alive
    face(pause, paused ? "play" : "pause", paused ? "Resume" : "Pause")
    const restart = ["stopped", "interrupted", "failed"].includes(this.status)
    stop.disabled = !this.alive && !restart
    face(stop, restart ? "play" : "stop", restart ? "Go on" : "Stop")
    stop.dataset.tip = restart ? "Go on from the last checkpoint" : "Stop the run; it keeps a checkpoint and can go on later"
    $("do-save").disabled = !this.alive
    $("do-save").dataset.tip = `Write a checkpoint now (S)${state.saved != null ? `; the last is of step ${whole(state.saved)}` : ""}`
  }
}

function face(button, icon, word) {
  button.querySelector("use").setAttribute("href", `#i-${icon}`)
  button.querySelector("span").textContent = word
}

// what the link does, measured over the last two seconds
export class Hud {
  constructor() {
    this.past = []
  }

  count(size) {
    this.past.push({at: performance.now(), size})
  }

  draw({hud, state, now}) {
    const span = 2000, since = performance.now() - span
    this.past = this.past.filter((p) => p.at > since)
    const rate = this.past.length / (span / 1000)
    const flow = this.past.reduce((sum, p) => sum + p.size, 0) / (span / 1000)
    const age = state.updated == null || !LIVE.includes(state.status) ? null : Math.max(0, now - state.updated)
    const late = state.status === "running" && age > 10
    const refused = Object.values(hud.refused).reduce((a, b) => a + b, 0)
    const item = (name, value, wrong) => el("span", {class: wrong ? "late" : ""}, `${name} `, el("b", {}, value))
    $("hud").replaceChildren(...(refused ? [item("refused", whole(refused), true)] : []), item("link", hud.latency == null ? "–" : `${fixed(1000 * hud.latency, 1)} ms`), item("", `${fixed(rate, 0)}/s`),
      item("", `${bytes(flow)}/s`), item("age", age == null ? "–" : age < 100 ? `${fixed(age, 1)} s` : duration(age), late), item("drops", whole(hud.drops), false))
  }
}

export function drawSample({step, text, bits}) {
  $("sample-step").textContent = `step ${whole(step)}`
  const characters = [...text]
  const blank = text.length - text.trimStart().length // line ends at the start would only push the text down
  const pieces = []
  characters.forEach((character, i) => {
    if (i < blank) return
    const level = Math.round(Math.min((bits[i] ?? 0) / 8, 1) * 8)
    const last = pieces.at(-1)
    if (last && last.level === level) last.text += character
    else pieces.push({level, text: character})
  })
  $("sample").replaceChildren(...pieces.map(({level, text: t}) =>
    level ? el("span", {style: `background:rgb(var(--surprise) / ${(0.75 * level) / 8})`}, t) : document.createTextNode(t)))
}

function stack(shares) {
  return el("div", {class: "stack", role: "img", "aria-label": LANES.map((lane, i) => `${lane} ${Math.round(100 * shares[i])} %`).join(", ")},
    ...LANES.map((lane, i) => el("i", {class: lane, style: `flex:${shares[i]}`}, shares[i] >= 0.09 ? `${Math.round(100 * shares[i])} %` : "")))
}

export function drawRoundtable(looks, streams) {
  const rows = []
  if (looks?.length) rows.push(el("span", {}, "gradient"), stack(LANES.map((lane) => looks.get(lane).at(-1))))
  for (const [name, shares] of Object.entries(streams ?? {})) rows.push(el("span", {}, name), stack(shares))
  $("roundtable").replaceChildren(...(rows.length ? rows : [el("span", {class: "quiet"}, "after the first look")]))
}

// what the latent says and what was observed, between -1 and 1
export function drawZ(looks) {
  const rows = []
  const curve = (values, kind) => {
    const points = values.map((v, i) => Number.isFinite(v) ? `${((100 * i) / Math.max(values.length - 1, 1)).toFixed(2)},${(12 - 10 * v).toFixed(2)}` : "").filter(Boolean)
    return svg("polyline", {class: kind, points: points.join(" ")})
  }
  for (const [name, [word, tip]] of Object.entries(Z)) {
    const said = looks?.get(name) ?? [], seen = looks?.get(`seen ${name}`) ?? []
    const last = Number.isFinite(seen.at(-1)) ? seen.at(-1) : said.at(-1)
    rows.push(el("span", {"data-tip": tip}, word), svg("svg", {viewBox: "0 0 100 24", preserveAspectRatio: "none", "aria-hidden": "true"},
      svg("line", {class: "zero", x1: 0, x2: 100, y1: 12, y2: 12}), curve(said, "curve"), curve(seen, "seen")), el("b", {class: "num"}, fixed(Number.isFinite(last) ? last : undefined, 3)))
  }
  $("zmetrics").replaceChildren(...rows)
}

export function drawLegend(train, validation) {
  const entry = (tone, name, value) => el("span", {}, el("i", {class: "line", style: `background:var(--${tone})`}), `${name} ${fixed(value, 3)}`)
  $("loss-legend").replaceChildren(entry("train", "train", train.get("bits").at(-1)), entry("held", "validation", validation.get("bits").at(-1)))
}
