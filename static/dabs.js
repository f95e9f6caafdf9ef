// Strokes on the disk: what they leave on its painting; canvas/dabs.py does the same bit for bit.
export const SIDE = 128 // cells along an edge of the painting, over the square around the disk; row 0 is at the top

// Take a stroke on to a point [x, y, milliseconds] of the disk; false where that is too near to leave another dab.
export function extend(painting, stroke, point) {
  const [x, y] = stroke.points.at(-1) ?? point, wayX = point[0] - x, wayY = point[1] - y
  const count = Math.floor(Math.sqrt(wayX * wayX + wayY * wayY) / (stroke.size / 2))
  if (!stroke.points.length) dab(painting, stroke, x, y)
  else if (!count) return false
  for (let i = 1; i <= count; i++) dab(painting, stroke, x + (wayX * i) / count, y + (wayY * i) / count)
  stroke.points.push(point)
  return true
}

// A whole stroke {tool, size, points}: "want", "avoid" and "erase" paint along the points, "clear" wipes everything.
export function paint(painting, {tool, size, points}) {
  if (tool === "clear") painting.fill(0)
  const stroke = {tool, size, points: []}
  for (const point of points) extend(painting, stroke, point)
}

// a soft round spot around a point of the disk; its size is a radius in those of the disk
function dab(painting, {tool, size}, x, y) {
  const radius = (size * SIDE) / 2, reach = Math.ceil(radius)
  const column = ((1 + x) / 2) * SIDE - 0.5, row = ((1 - y) / 2) * SIDE - 0.5
  for (let i = Math.max(Math.floor(row) - reach, 0); i <= Math.min(Math.ceil(row) + reach, SIDE - 1); i++) {
    for (let j = Math.max(Math.floor(column) - reach, 0); j <= Math.min(Math.ceil(column) + reach, SIDE - 1); j++) {
      const fall = 1 - ((i - row) * (i - row) + (j - column) * (j - column)) / (radius * radius)
      if (fall <= 0) continue
      const weight = fall * fall, at = i * SIDE + j, was = painting[at]
      if (tool === "erase") painting[at] = Math.abs(was) < 0.02 ? 0 : was * (1 - weight)
      else painting[at] = Math.min(Math.max(was + (tool === "want" ? 0.5 : -0.5) * weight, -1), 1)
    }
  }
}
