// The page's channel to the server: commands with answers, batches with acknowledgements, and the news of a lost server.
import {decodeAll, encode, text} from "./codec.js"

const SILENCE = 3000 // ms without a word after which the server is looked for
const DEAD = 30000 // ms without a word after which a connection is taken for dead, though the server lives
const ANSWER = 30000 // ms to wait for an answer

export class Channel {
  // model: what Panel hands to a component; onBatch(messages, bytes); onLost(gone) when the server says nothing, onFound() when it speaks again; patience in ms for an answer
  constructor(model, {onBatch, onLost, onFound, patience = ANSWER}) {
    this.model = model
    this.onBatch = onBatch
    this.onLost = onLost
    this.onFound = onFound
    this.patience = patience
    this.sequence = 0
    this.waiting = new Map()
    this.heard = performance.now()
    this.lost = null // or what became of the server: "busy", "gone"
    this.met = false // whether the server ever spoke: only then does loading anew help against silence
    this.gone = false // whether it was seen to be away since
    model.on("msg:custom", (data) => this.receive(data))
    if (onLost) this.watch = setInterval(() => this.check(), 1000) // a notebook looks after its kernel itself
  }

  // ask the server for something; resolves with its answer, rejects with its sentence
  ask(command, args = {}) {
    return this.send((sequence) => text("command", {do: command, ...args}, sequence))
  }

  // a painted layer: {chart, shape, values, depth, frame}; resolves once it is on disk
  paint(layer) {
    return this.send((sequence) => ({kind: "patch", dtype: "f32", coherence: 1, time: Date.now() / 1000, sequence, ...layer}))
  }

  send(message) {
    const sequence = ++this.sequence
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.settle(sequence, {ok: false, error: "The server did not answer: try again."}), this.patience)
      this.waiting.set(sequence, {resolve, reject, timer})
      this.model.send_msg(encode(message(sequence)))
    })
  }

  receive(data) {
    this.heard = performance.now()
    this.met = true
    if (this.lost) this.onFound() // it was only slow, or this page was
    this.lost = null
    this.gone = false
    const messages = decodeAll(data)
    const first = messages[0].kind === "text" ? messages[0].json : {}
    if (first.type === "reply") this.settle(first.to, first)
    else this.onBatch(messages, data.byteLength)
    if (first.type === "status") this.model.send_msg(encode({kind: "ack", sequence: messages[0].sequence}))
  }

  settle(sequence, answer) {
    const found = this.waiting.get(sequence)
    if (!found) return
    this.waiting.delete(sequence)
    clearTimeout(found.timer)
    if (answer.ok) found.resolve(answer)
    else found.reject(new Error(answer.error))
  }

  miss() {
    const how = this.gone ? "gone" : "busy"
    if (how === this.lost) return
    this.lost = how
    this.onLost(this.gone)
  }

  // a silent server is looked for over HTTP: one that is only busy is waited for; with one that was away, or that a dead
  // connection hides, the page loads anew and catches up from the run's files
  async check() {
    if (performance.now() - this.heard < SILENCE || this.looking) return
    this.looking = true
    this.miss()
    try {
      const answer = await fetch(new URL("workbench/static/icon.svg", document.baseURI), {cache: "no-store"})
      const silent = performance.now() - this.heard
      if (answer.ok && silent >= SILENCE && (this.gone || (this.met && silent >= DEAD))) location.reload()
    } catch {
      this.gone = true
      this.miss()
    } finally {
      this.looking = false
    }
  }
}
