// A measured field as pictures need it: rho[(band * sheets + sheet) * echoes + echo], size {bands, sheets, echoes}.
import {SEQUENTIAL, signed} from "./palettes.js"

export const value = (rho, {sheets, echoes}, band, sheet, echo) => rho[(band * sheets + sheet) * echoes + echo]

// echo 0, [bands x sheets]
export const power = (rho, {echoes}) => Float32Array.from(rho.filter((_, i) => i % echoes === 0))

// the bands of a frame in cycles per sample, as words
export function bandNames(edges) {
  const all = [0, ...edges, 0.5]
  return all.slice(1).map((high, i) => `${trim(all[i])} – ${trim(high)}`)
}

function trim(x) {
  return String(Number(x.toPrecision(2)))
}

// power from zero to its largest; correlations signed, on one scale for all lags
export function ranges(rho, {echoes}) {
  let power = 0, signed = 0
  for (let i = 0; i < rho.length; i++) {
    if (i % echoes === 0) power = Math.max(power, rho[i])
    else signed = Math.max(signed, Math.abs(rho[i]))
  }
  return {power: power || 1, signed: signed || 1}
}

export function mapping(echo, range, theme) {
  return echo === 0 ? {palette: SEQUENTIAL, low: 0, high: range.power} : {palette: signed(theme), low: -range.signed, high: range.signed}
}

export const meaning = (echo, lags) => (echo === 0 ? "power; line: mean" : `correlation, ${lags[echo]} back`)

export const gradient = (palette) => `linear-gradient(90deg, ${palette.filter((_, i) => i % 16 === 0 || i === 255).join(",")})`

// one pixel a cell, scaled up by the style sheet
export function drawEcho(canvas, rho, size, echo, {palette, low, high}) {
  const {bands, sheets} = size
  canvas.width = sheets
  canvas.height = bands
  const context = canvas.getContext("2d")
  for (let b = 0; b < bands; b++) {
    for (let s = 0; s < sheets; s++) {
      const place = (value(rho, size, b, s, echo) - low) / (high - low)
      context.fillStyle = palette[Math.min(Math.max(Math.floor(place * 256), 0), 255)]
      context.fillRect(s, bands - 1 - b, 1, 1)
    }
  }
}

// the border of the cells that have a label, around the cells' middles; at the wrap it shows on both sides
export function outline(labels, {bands, sheets}) {
  const lines = {x0: [], y0: [], x1: [], y1: []}
  const inside = (b, s) => labels[b][(s + sheets) % sheets] > 0
  const add = (x0, y0, x1, y1) => { lines.x0.push(x0); lines.y0.push(y0); lines.x1.push(x1); lines.y1.push(y1) }
  for (let b = 0; b < bands; b++) {
    for (let s = 0; s <= sheets; s++) {
      if (inside(b, s) !== inside(b, s - 1)) add(s - 0.5, b - 0.5, s - 0.5, b + 0.5)
      if (b > 0 && s < sheets && inside(b, s) !== inside(b - 1, s)) add(s - 0.5, b - 0.5, s + 0.5, b - 0.5)
    }
  }
  return lines
}
