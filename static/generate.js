// Generate: let the shown run write, with and without desire, side by side.
import {$, el, fixed} from "./dom.js"

const ARMS = ["without", "tilted"]
const SLIDERS = ["vowels", "capitals", "punctuation", "symbols"]
const NUMBERS = ["length", "seed", "temperature", "top_k", "top_p", "entropy", "budget"]
const HINT = "Want something, and what it did and cost is measured over several seeds."

export class Generate {
  constructor(ask, disk) {
    this.ask = ask
    this.disk = disk
    this.form = $("generate-form")
    this.form.addEventListener("submit", (event) => { event.preventDefault(); if (this.busy) this.stop(); else this.start() })
    this.form.addEventListener("input", () => this.label())
    this.label()
    this.forget()
  }

  get given() { // form.elements would not do: its own `length` hides the field of that name
    return Object.fromEntries(new FormData(this.form))
  }

  // what is wanted: pairs of a set's name or characters, and a score
  get wishes() {
    const given = this.given
    const wishes = SLIDERS.map((name) => [name === "symbols" ? given.characters : name, Number(given[name])])
    return wishes.filter(([name, score]) => name && score)
  }

  label() {
    for (const output of this.form.querySelectorAll("output")) {
      const slider = this.form.elements[output.htmlFor]
      output.textContent = slider.name === "budget" ? `${fixed(Number(slider.value), 2)} nats` : fixed(Number(slider.value), 1)
      slider.classList.toggle("set", slider.name !== "budget" && Number(slider.value) !== 0)
    }
  }

  forget() {
    this.busy = false
    this.texts = {without: "", tilted: ""}
    this.targets = new Set()
    this.prompt = ""
    this.compared = false
    this.say(HINT)
    $("generate-error").textContent = ""
    this.draw()
  }

  async start() {
    const given = this.given
    const numbers = Object.fromEntries(NUMBERS.filter((name) => given[name]).map((name) => [name, Number(given[name])]))
    this.forget()
    this.prompt = given.prompt
    this.compared = this.wishes.length > 0 || this.disk.painted
    if (this.compared) this.say("Writing both texts.")
    this.busy = true
    this.draw()
    try {
      await this.disk.flush()
      await this.ask("generate", {prompt: this.prompt, wishes: this.wishes, disk: this.disk.painted, ...numbers})
    } catch (error) {
      this.busy = false
      this.fail(error.message)
    }
  }

  stop() {
    this.ask("hush").catch((error) => this.fail(error.message))
  }

  fail(sentence) {
    $("generate-error").textContent = sentence
    this.say(HINT)
    this.draw()
  }

  // what the server's process printed, see workbench/writing.py
  take(news) {
    for (const line of news) {
      if (line.targets != null) this.targets = new Set(line.targets)
      else if (line.text != null) this.texts[line.arm] += line.text
      else if (line.pairs) this.say(`${line.pairs} of ${line.of} pairs of texts compared.`)
      else if (line.effect) this.effect(line.effect)
      else if (line.error) this.fail(line.error)
      else if (line.end) this.busy = false // not before: what is on its way must not meet the next text
    }
    this.draw()
  }

  say(sentence) {
    $("effect-of-desire").replaceChildren(el("span", {class: "quiet"}, sentence))
  }

  effect({shift, kl_mean, kl_largest, names}) {
    const percent = (x) => `${fixed(100 * x, 1)} %`
    const fact = (name, tip, ...value) => [el("dt", {"data-tip": tip}, name), el("dd", {class: "num"}, ...value)]
    const [low, high] = shift.interval
    $("effect-of-desire").replaceChildren(el("dl", {class: "facts"},
      ...fact("share of the marked", "How much of the text the marked characters take, without and with desire", percent(shift.without), " → ", el("b", {}, percent(shift.tilted))),
      ...fact("difference", `Mean over ${names.length} pairs of equal seed, with the 95 % interval of a bootstrap over them`, `${fixed(100 * shift.difference, 1)} points (${fixed(100 * low, 1)} to ${fixed(100 * high, 1)})`),
      ...fact("p value", "How often chance alone would move the share as far: a permutation of the pairs' signs", shift.p < 0.001 ? "below 0.001" : fixed(shift.p, 3)),
      ...fact("price", "Realised KL divergence from what the model would have drawn from: the mean, and the largest, which never exceeds the budget", `${fixed(kl_mean, 3)} nats a character, at most ${fixed(kl_largest, 3)}`)))
  }

  draw() {
    $("generate-start").textContent = this.busy ? "Stop" : "Generate"
    $("text-tilted-card").hidden = !this.compared
    for (const arm of ARMS) {
      const pieces = []
      for (const character of this.prompt ? this.texts[arm] : this.texts[arm].trimStart()) {
        const wanted = this.targets.has(character), last = pieces.at(-1)
        if (last && last.wanted === wanted) last.text += character
        else pieces.push({wanted, text: character})
      }
      $(`text-${arm}`).replaceChildren(...(this.prompt ? [el("span", {class: "quiet"}, this.prompt)] : []), ...pieces.map(({wanted, text}) => (wanted ? el("mark", {}, text) : document.createTextNode(text))))
    }
  }
}
