// Bokeh's models in the browser: found by name, filled without a word to the server, coloured from the style sheet.
import {css} from "./dom.js"

const QUIETLY = {sync: false}
const found = new Map()

export function model(name) {
  if (!found.has(name)) {
    for (const doc of Bokeh.documents) {
      const here = doc.get_model_by_name(name)
      if (here) found.set(name, here)
    }
  }
  return found.get(name)
}

export const set = (name, values) => model(name).setv(values, QUIETLY)
export const fill = (name, columns) => set(name, {data: columns})
const cleared = new Set()
export function clear(figure) { // the points that held its ranges before there were data
  if (!cleared.has(figure)) fill(`${figure}-figure-blank`, {x: [], y: []})
  cleared.add(figure)
}
export const colour = (name, values) => model(name).glyph.setv(values, QUIETLY)

// colours of the theme for every figure's furniture
export function restyle(names) {
  const ink = css("--ink"), quiet = css("--quiet"), line = css("--line"), raised = css("--raised")
  for (const name of names) {
    const figure = model(`${name}-figure`)
    for (const axis of [...figure.below, ...figure.left]) {
      axis.setv({axis_label_text_color: quiet, major_label_text_color: quiet,
        axis_label_text_font: css("--font"), major_label_text_font: css("--font")}, QUIETLY)
    }
    for (const item of figure.center) {
      if (item.type === "Grid") item.setv({grid_line_color: item.dimension === 1 && name !== "atlas" ? line : null}, QUIETLY)
    }
    for (const tool of figure.toolbar.tools) {
      if (tool.type === "CrosshairTool") tool.setv({line_color: quiet}, QUIETLY)
    }
  }
  colour("base-text", {text_color: quiet, text_font: css("--font"), background_fill_color: css("--card")})
  colour("spread", {fill_color: css("--train")})
  colour("train-line", {line_color: css("--train")})
  colour("validation-line", {line_color: css("--held")})
  colour("validation-dots", {fill_color: css("--held")})
  for (const name of ["unigram", "bigram", "xz"]) set(`base-${name}`, {line_color: css("--base")})
  colour("painted-rect", {line_color: ink})
  colour("outline-halo", {line_color: css("--halo")})
  colour("outline-line", {line_color: css("--outline")})
  colour("cursor-rect", {line_color: ink})
  set("history-now", {line_color: ink})
  return {ink, quiet, line, raised}
}

// a table kept as columns; rows carry their index first, so news replace the tail
export class Table {
  constructor(columns) {
    this.names = columns
    this.columns = columns.map(() => [])
  }

  take(values, shape) {
    const [rows, width] = shape
    const start = values[0]
    this.columns.forEach((column, i) => {
      column.length = start
      for (let r = 0; r < rows; r++) column.push(values[r * width + 1 + i])
    })
  }

  get(name) {
    return this.columns[this.names.indexOf(name)]
  }

  get length() {
    return this.columns[0].length
  }
}

const BASES = {unigram: "unigram", bigram: "bigram", xz: "xz -9"}

export function drawLoss(train, validation, baselines) {
  clear("loss")
  fill("train", {step: [...train.get("step")], bits: [...train.get("bits")], low: [...train.get("low")], high: [...train.get("high")]})
  fill("validation", {step: [...validation.get("step")], bits: [...validation.get("bits")]})
  const last = Math.max(train.get("step").at(-1) ?? 0, validation.get("step").at(-1) ?? 0, 1)
  const known = Object.entries(baselines).filter(([, bits]) => bits != null)
  for (const [name, bits] of known) set(`base-${name}`, {location: bits, visible: true})
  fill("base-labels", {x: known.map(() => last), y: known.map(([, bits]) => bits), text: known.map(([name]) => BASES[name])})
}
