// Runs scripts in Python, in a worker of its own: ending it ends whatever a script does. What `canvas.script` says goes to
// static/script.js and nowhere else; under its own content security policy the worker reaches this server only.
import {loadPyodide} from "./pyodide/pyodide.mjs"

const MOST = 20000 // characters that a script may print
const FOLDER = new URL("pyodide/", import.meta.url).href

let room = MOST, left = 0 // of the output, and how many characters had no room
let script = null

function print(text) {
  if (room > 0) postMessage({printed: text.slice(0, room)})
  left += Math.max(text.length - room, 0)
  room = Math.max(room - text.length, 0)
}

async function boot() {
  const {numpy} = await (await fetch(`${FOLDER}runtime.json`)).json()
  const python = await loadPyodide({indexURL: FOLDER})
  const refuse = (message) => { throw new Error(message) }
  await python.loadPackage(["zspace-canvas", ...(numpy ? ["numpy"] : [])], {messageCallback: () => {}, errorCallback: refuse})
  const decoder = new TextDecoder()
  const write = (bytes) => { print(decoder.decode(bytes, {stream: true})); return bytes.length }
  python.setStdout({write, isatty: true}) // a line at a time
  python.setStderr({write, isatty: true})
  return {python, Script: python.pyimport("canvas.script").Script, sys: python.pyimport("sys")}
}

const ready = boot()
ready.then(() => postMessage({ready: true}), (error) => postMessage({broken: `Python did not start: ${error.message}`}))

// {text, bands, sheets}: run a script; {time}: paint its field
onmessage = async ({data}) => {
  const {python, Script, sys} = await ready
  try {
    if (data.text === undefined) postMessage({answer: Float32Array.from(script.relation(data.time).toJs().flat())})
    else {
      script?.destroy()
      script = null
      ;[room, left] = [MOST, 0]
      script = Script(data.text, data.bands, data.sheets)
      sys.stdout.flush()
      const {strokes} = script.recording.to_json().toJs({dict_converter: Object.fromEntries})
      postMessage({answer: {strokes, field: script.field !== undefined, moves: script.moves, left}})
    }
  } catch (error) {
    sys.stdout.flush()
    const said = sys.last_exc
    if (!(error instanceof python.ffi.PythonError) || said?.calls === undefined) return postMessage({broken: `Python broke down: ${error.message}`})
    postMessage({error: {sentence: String(said), line: said.line ?? null, calls: said.calls.toJs(), left}})
  }
}
