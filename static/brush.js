// What a stroke comes to before any backend draws it; canvas/strokes.py does the same, bit for bit.
//
// Chart units: x in turns along the sheets (cyclic: 1.25 is 0.25), y in 0..1 from the lowest band to the highest, a
// brush's size is its radius in turns. A layer has square cells as long as the chart is 8 by 5.
//
// A stroke is {tool, points, size, strength, hardness, sign, erase, mirror}, a point [x, y, milliseconds, pressure].
// Brush: the points are its path. Line: both ends. Stamp: two opposite corners of a rectangle. Lasso: the corners of what
// is filled, inside by the even-odd rule. `mirror` is where the axis lies, in turns, across which all is repeated, or null.

export const LIMIT = 3; // log2 gain
const FARTHEST = 64; // charts that a point may lie outside: a captured pointer leaves the canvas
export const HARDEST = 0.95; // share of the radius that is level: at 1 a dab's edge would be a cliff
export const MAX_POINTS = 1 << 16;
export const MAX_DABS = 1024; // of one event, and as many mirrored
const SPACING = 1 / 8; // between dabs, in radii: the ridge of a line is level to 1 %
const POINTS = { brush: [1, MAX_POINTS], line: [2, 2], stamp: [2, 2], lasso: [3, MAX_POINTS] }; // fewest and most

/** Cells of a painted layer: about 256 x 160, whole numbers of cells for every sheet and band. */
export function layerSize(bands, sheets) {
  for (const [name, count] of [["bands", bands], ["sheets", sheets]])
    if (!Number.isInteger(count) || count < 1 || count > 4096)
      throw new RangeError(`${name} is ${count}: it must be a whole number in 1..4096`);
  return { width: sheets * Math.max(1, Math.floor(256 / sheets)), height: bands * Math.max(1, Math.floor(160 / bands)) };
}

/** A tool's settings in full: strength is the log2 gain of a click, or the share that an eraser's takes away. */
export function settings({ tool = "brush", size, strength, hardness = 0, sign = 1, erase = false, mirror = null }) {
  if (!Object.hasOwn(POINTS, tool)) throw new RangeError(`tool is ${tool}: it is one of ${Object.keys(POINTS).join(", ")}`);
  if (!(size > 0 && size <= 1)) throw new RangeError(`size is ${size}: a radius lies in (0, 1] turns`);
  const most = erase ? 1 : 2 * LIMIT;
  if (!(strength > 0 && strength <= most)) throw new RangeError(`strength is ${strength}: it lies in (0, ${most}]`);
  if (!(hardness >= 0 && hardness <= HARDEST)) throw new RangeError(`hardness is ${hardness}: it lies in [0, ${HARDEST}]`);
  if (sign !== 1 && sign !== -1) throw new RangeError(`sign is ${sign}: it is 1 or -1`);
  if (mirror !== null && !(mirror >= 0 && mirror <= 1)) throw new RangeError(`mirror is ${mirror}: an axis lies in [0, 1] turns`);
  return { tool, size, strength, hardness, sign, erase: Boolean(erase), mirror };
}

/** A point in full; without a time it is 0, without a pressure 1. */
export function point([x, y, time = 0, pressure = 1]) {
  if (!(Math.abs(x) <= FARTHEST && Math.abs(y) <= FARTHEST))
    throw new RangeError(`a point is ${x},${y}: it lies within ${FARTHEST} charts`);
  if (!(pressure >= 0 && pressure <= 1)) throw new RangeError(`a pressure is ${pressure}: it lies in 0..1`);
  return [x, y, time, pressure];
}

/** Refuse a finished stroke with too few or too many points for its tool. */
export function assertWhole({ tool, points }) {
  const [fewest, most] = POINTS[tool];
  if (points.length < fewest || points.length > most)
    throw new RangeError(`a stroke of the ${tool} has ${fewest === most ? most : `${fewest} to ${most}`} points, not ${points.length}`);
}

/**
 * What a stroke leaves on a layer, event by event: {marks, spans, amount, erase, hardness}. `marks` holds four numbers
 * each: of a dab x, y, radius in cells and weight; or, where `spans` is true, row, start, end and 1.
 *
 * A brush leaves half a dose where it comes down and half where it is lifted (`lifted`), so a click leaves one. The other
 * tools are one event at full dose; a fill takes no pressure.
 */
export function* deposits(stroke, shape, lifted = true) {
  const { tool, points } = stroke, first = points[0], last = points.at(-1);
  if (tool === "brush") {
    for (const [i, here] of points.entries()) {
      const operation = move(i ? points[i - 1] : null, here, stroke, shape);
      if (operation) yield operation;
    }
    if (lifted) yield move(null, last, stroke, shape);
  } else if (tool === "line") yield dabs(first, last, last[3], stroke, shape);
  else {
    const corners = tool === "lasso" ? points : [first, [last[0], first[1]], last, [first[0], last[1]]];
    yield { marks: fill(corners, stroke.mirror, shape), spans: true, amount: amount(stroke, 1), erase: stroke.erase, hardness: 0 };
  }
}

/**
 * One pointer event of a brush, or null where the pointer stood still. `from` is null where it came down, and once more
 * at the last point where it is lifted.
 *
 * Along a path the dose follows the length, so that it comes out alike however often the pointer reports: n moves of
 * l radii give n * dose * (l + reach) / (n * l) = 1 along the middle.
 */
export function move(from, to, stroke, shape) {
  if (!from) return dabs(to, to, 0.5 * to[3], stroke, shape);
  if (from[0] === to[0] && from[1] === to[1]) return null;
  const radius = stroke.size * shape.width;
  const length = size((to[0] - from[0]) * shape.width, (to[1] - from[1]) * shape.height);
  return dabs(from, to, (length / (length + reach(stroke.hardness) * radius)) * to[3], stroke, shape);
}

/** Dabs from one point to another. */
function dabs(start, end, dose, stroke, { width, height }) {
  const radius = stroke.size * width, { mirror, erase, hardness } = stroke;
  const x = start[0] * width, y = start[1] * height, wayX = (end[0] - start[0]) * width, wayY = (end[1] - start[1]) * height;
  const count = Math.min(MAX_DABS - 1, Math.max(1, Math.ceil(size(wayX, wayY) / (radius * SPACING))));
  const weight = erase ? 1 : dose; // doses of erasing multiply
  const marks = [];
  for (let i = 0; i <= count; i++) {
    const across = x + (wayX * i) / count, up = y + (wayY * i) / count;
    marks.push(across, up, radius, weight);
    if (mirror !== null) marks.push(2 * mirror * width - across, up, radius, weight);
  }
  return { marks: Float32Array.from(marks), spans: false, amount: amount(stroke, dose), erase, hardness };
}

const amount = ({ erase, sign, strength }, dose) => Math.fround(erase ? 1 - (1 - strength) ** dose : sign * strength);

const size = (x, y) => Math.sqrt(x * x + y * y);

/** Integral of a dab's weight along its middle, in radii: of ((1 - x^2) / (1 - h^2))^2 at most 1, over -1..1. */
function reach(h) {
  return (8 * (2 + 4 * h + 6 * h * h + 3 * h * h * h)) / (15 * (1 + h) * (1 + h));
}

/** Cells whose middle lies in a polygon in chart units, or in its mirror image, as spans row by row. */
function fill(corners, mirror, { width, height }) {
  const polygon = corners.map(([x, y]) => [x * width, y * height]);
  const polygons = mirror === null ? [polygon] : [polygon, polygon.map(([x, y]) => [2 * mirror * width - x, y])];
  const marks = [];
  for (let row = 0; row < height; row++) {
    const inside = new Uint8Array(width);
    for (const points of polygons) {
      const found = crossings(points, row + 0.5).sort((a, b) => a - b);
      for (let i = 0; i < found.length; i += 2) {
        const start = Math.ceil(found[i] - 0.5), end = Math.min(Math.ceil(found[i + 1] - 0.5), start + width);
        for (let column = start; column < end; column++) inside[((column % width) + width) % width] = 1;
      }
    }
    for (let column = 0, start = 0; column <= width; column++) {
      if (inside[column] && !inside[column - 1]) start = column;
      if (!inside[column] && inside[column - 1]) marks.push(row, start, column, 1);
    }
  }
  return Float32Array.from(marks);
}

/** Where a polygon's border crosses a height. */
function crossings(points, y) {
  const found = [];
  let [ax, ay] = points.at(-1);
  for (const [bx, by] of points) {
    if (ay <= y !== by <= y) found.push(ax + ((y - ay) * (bx - ax)) / (by - ay));
    [ax, ay] = [bx, by];
  }
  return found;
}

/** A layer that is level in every cell of a relation [bands x sheets], clipped to what a layer holds. */
export function spread(relation, bands, sheets) {
  if (relation.length !== bands * sheets)
    throw new RangeError(`the relation has ${relation.length} values, the chart ${bands} x ${sheets}`);
  const { width, height } = layerSize(bands, sheets);
  const layer = new Float32Array(width * height);
  for (let cell = 0; cell < layer.length; cell++) {
    const band = Math.floor((Math.floor(cell / width) * bands) / height);
    const value = relation[band * sheets + Math.floor(((cell % width) * sheets) / width)];
    if (!Number.isFinite(value)) throw new RangeError(`the relation holds ${value}: it must be finite`);
    layer[cell] = Math.min(Math.max(value, -LIMIT), LIMIT);
  }
  return layer;
}

/** Strokes that leave what `spread` makes: one stamp a cell. */
export function stamps(relation, bands, sheets) {
  const strokes = [];
  relation.forEach((value, i) => {
    if (value === 0) return;
    const band = Math.floor(i / sheets), sheet = i % sheets;
    strokes.push({ ...settings({ tool: "stamp", size: 0.5 / sheets, strength: Math.min(Math.abs(value), LIMIT), sign: Math.sign(value) }),
      points: [point([sheet / sheets, band / bands]), point([(sheet + 1) / sheets, (band + 1) / bands])] });
  });
  return strokes;
}

/** The wave that a shown layer rings with, for both backends. */
export const WAVE = { dt: 1 / 240, speed: 150, stiffness: 900, damping: 14 };
export const REST = 1.1; // seconds after which less than a byte level is left of it

/** Refuse a wave that would grow: dt^2 (8 speed^2 + stiffness) <= 4, see wave.wgsl. */
export function assertStable({ dt, speed, stiffness }) {
  const number = dt * dt * (8 * speed * speed + stiffness);
  if (!(number <= 4)) throw new RangeError(`the wave is unstable: dt^2 (8 speed^2 + stiffness) is ${number}, above 4`);
}
