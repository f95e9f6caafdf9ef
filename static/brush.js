// What a stroke comes to before any backend draws it; canvas/strokes.py does the same, digit for digit.
//
// Chart units: x in turns along the sheets (cyclic: 1.25 is 0.25), y in 0..1 from the lowest band to the highest, a
// brush's size is its radius in turns. A layer has square cells as long as the chart is 8 by 5.

export const LIMIT = 3; // log2 gain
const FARTHEST = 64; // charts that a point may lie outside: a captured pointer leaves the canvas
export const MAX_STAMPS = 1024; // of one event
const SPACING = 1 / 8; // between stamps, in radii: the ridge of a line is level to 1 %
const REACH = 16 / 15; // integral of a stamp along its middle, in radii

/** Cells of a painted layer: about 256 x 160, whole numbers of cells for every sheet and band. */
export function layerSize(bands, sheets) {
  for (const [name, count] of [["bands", bands], ["sheets", sheets]])
    if (!Number.isInteger(count) || count < 1 || count > 4096)
      throw new RangeError(`${name} is ${count}: it must be a whole number in 1..4096`);
  return { width: sheets * Math.max(1, Math.floor(256 / sheets)), height: bands * Math.max(1, Math.floor(160 / bands)) };
}

/** A brush in full: size (turns), strength (log2 gain of a click; share taken away by the eraser), sign, erase. */
export function brush({ size, strength, sign = 1, erase = false }) {
  if (!(size > 0 && size <= 1)) throw new RangeError(`size is ${size}: a radius lies in (0, 1] turns`);
  const most = erase ? 1 : 2 * LIMIT;
  if (!(strength > 0 && strength <= most)) throw new RangeError(`strength is ${strength}: it lies in (0, ${most}]`);
  if (sign !== 1 && sign !== -1) throw new RangeError(`sign is ${sign}: it is 1 or -1`);
  return { size, strength, sign, erase: Boolean(erase) };
}

/**
 * One pointer event as a deposit, or null where the pointer stood still. `from` is null where it came down, and once
 * more at the last point where it is lifted: each gives half a dose, so a click gives one.
 *
 * Along a path the dose follows the length, so that a line comes out alike however often the pointer reports: n moves
 * of l radii give n * dose * (l + REACH) / (n * l) = 1 along the middle.
 */
export function deposit(from, to, { size, strength, sign, erase }, { width, height }) {
  if (![to[0], to[1]].every((value) => Math.abs(value) <= FARTHEST))
    throw new RangeError(`a point is ${to}: it lies within ${FARTHEST} charts`);
  const radius = size * width;
  const toX = to[0] * width, toY = to[1] * height;
  const fromX = from ? from[0] * width : toX, fromY = from ? from[1] * height : toY;
  const length = Math.sqrt((toX - fromX) * (toX - fromX) + (toY - fromY) * (toY - fromY));
  if (from && length === 0) return null;
  const count = Math.min(MAX_STAMPS, Math.max(1, Math.ceil(length / (radius * SPACING))));
  const dose = from ? length / (length + REACH * radius) : 0.5;
  const stamps = new Float32Array(4 * count);
  for (let i = 1; i <= count; i++)
    stamps.set([fromX + ((toX - fromX) * i) / count, fromY + ((toY - fromY) * i) / count, radius, erase ? 1 : dose],
      4 * (i - 1));
  return { stamps, amount: erase ? 1 - (1 - strength) ** dose : sign * strength, erase }; // doses of erasing multiply
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

/** The wave that a shown layer rings with, for both backends. */
export const WAVE = { dt: 1 / 240, speed: 150, stiffness: 900, damping: 14 };
export const REST = 1.1; // seconds after which less than a byte level is left of it

/** Refuse a wave that would grow: dt^2 (8 speed^2 + stiffness) <= 4, see wave.wgsl. */
export function assertStable({ dt, speed, stiffness }) {
  const number = dt * dt * (8 * speed * speed + stiffness);
  if (!(number <= 4)) throw new RangeError(`the wave is unstable: dt^2 (8 speed^2 + stiffness) is ${number}, above 4`);
}
