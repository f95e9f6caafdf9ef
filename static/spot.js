// A place on the atlas, in turns along and 0..1 up: the cell that it lies in, and where the arrow keys take it.
const ARROWS = {ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]}
const FARTHEST = 8 // turns that an open stroke may go round

const within = (value, low, high) => Math.min(Math.max(value, low), high)

export const middle = (band, sheet, {bands, sheets}) => [(sheet + 0.5) / sheets, (band + 0.5) / bands]

export function cell([x, y], {bands, sheets}) {
  return {band: within(Math.floor(y * bands), 0, bands - 1), sheet: ((Math.floor(x * sheets) % sheets) + sheets) % sheets}
}

// Where a key takes a spot: to the middle of the next cell, with Shift a quarter of one; null where it is no arrow.
export function step(spot, {key, shiftKey}, size, open) {
  const move = ARROWS[key]
  if (!move) return null
  const {bands, sheets} = size, [up, along] = move
  const [x, y] = shiftKey ? [spot[0] + along / 4 / sheets, within(spot[1] + up / 4 / bands, 0, 1)]
    : [(Math.floor(spot[0] * sheets + 1e-9) + 0.5 + along) / sheets, (within(cell(spot, size).band + up, 0, bands - 1) + 0.5) / bands]
  return [open ? within(x, -FARTHEST, FARTHEST) : x - Math.floor(x), y]
}
