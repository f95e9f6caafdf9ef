// The surface's operations in plain JavaScript: the same results as the kernels, where WebGPU is not to be had.

import { LIMIT, WAVE } from "./brush.js";
import { RANGE, decibels, reduced } from "./spectrum.js";

/** Backend of a `Surface`; `GpuEngine` has the same methods. */
export class PlainEngine {
  name = "2d";
  maxPixels = 1 << 20; // beyond, a frame would take longer than a brush can wait; the page scales the picture up
  lost = new Promise(() => {});
  #picture = new OffscreenCanvas(1, 1);

  constructor({ width, height, bands, sheets }) {
    Object.assign(this, { width, height, bands, sheets });
    this.layer = new Float32Array(width * height);
    this.shown = new Float32Array(width * height);
    this.velocity = new Float32Array(width * height);
    this.field = new Float32Array(bands * sheets);
    this.range = [0, 1];
  }

  release() {}

  setField(values, low, high) {
    this.field = values;
    this.range = [low, high];
  }

  setTables({ field, painted }) {
    this.tables = { field, painted };
  }

  setLayer(values) {
    this.layer.set(values);
  }

  async copyLayer() {
    return this.layer.slice();
  }

  deposit({ marks, spans, amount, erase, hardness }) {
    const { layer } = this;
    for (const [cell, weight] of spans ? this.#covered(marks) : this.#weights(marks, hardness))
      layer[cell] = erase ? layer[cell] * (1 - amount * weight)
        : Math.min(Math.max(layer[cell] + amount * weight, -LIMIT), LIMIT);
  }

  *#covered(spans) {
    for (let i = 0; i < spans.length; i += 4)
      for (let column = spans[i + 1]; column < spans[i + 2]; column++) yield [spans[i] * this.width + column, 1];
  }

  /** The heaviest dab at every cell that one reaches; canvas/strokes.py does the same in the same order. */
  #weights(dabs, hardness) {
    const { width, height } = this, soft = 1 - hardness * hardness, weights = new Map();
    for (let i = 0; i < dabs.length; i += 4) {
      const [x, y, radius, most] = dabs.subarray(i, i + 4), square = radius * radius;
      for (let row = Math.max(0, Math.floor(y - radius)); row <= Math.min(height - 1, Math.floor(y + radius)); row++) {
        const dy = row + 0.5 - y, half = Math.sqrt(Math.max(square - dy * dy, 0));
        for (let column = Math.ceil(x - half - 0.5); column <= Math.floor(x + half - 0.5); column++) {
          const dx = column + 0.5 - x;
          const fall = Math.min(Math.max((1 - (dx * dx + dy * dy) / square) / soft, 0), 1);
          const cell = row * width + (((column % width) + width) % width);
          weights.set(cell, Math.max(weights.get(cell) ?? 0, most * fall * fall));
        }
      }
    }
    return weights;
  }

  /** Area mean over the grid, [bands x sheets]. */
  async relation() {
    const { width, height, bands, sheets, layer } = this;
    const sums = new Float64Array(bands * sheets); // the layer's cells divide evenly, see layerSize
    for (let cell = 0; cell < layer.length; cell++) {
      const band = Math.floor((Math.floor(cell / width) * bands) / height);
      sums[band * sheets + Math.floor(((cell % width) * sheets) / width)] += layer[cell];
    }
    return Float32Array.from(sums, (sum) => sum / ((width / sheets) * (height / bands)));
  }

  step(count) {
    const { width, height, velocity } = this;
    const { dt, speed, stiffness, damping } = WAVE;
    for (let n = 0; n < count; n++) {
      const w = this.shown.map((value, i) => value - this.layer[i]);
      for (let y = 0, i = 0; y < height; y++)
        for (let x = 0; x < width; x++, i++) {
          const left = w[x ? i - 1 : i + width - 1], right = w[x < width - 1 ? i + 1 : i - width + 1];
          const below = w[y ? i - width : i], above = w[y < height - 1 ? i + width : i];
          const pull = speed * speed * (left + right + below + above - 4 * w[i]) - stiffness * w[i];
          velocity[i] = (velocity[i] + dt * pull) / (1 + damping * dt);
          this.shown[i] += dt * velocity[i];
        }
    }
  }

  settle() {
    this.shown.set(this.layer);
    this.velocity.fill(0);
  }

  present(columns, rows) {
    this.#draw(columns, rows);
    return this.#picture.transferToImageBitmap();
  }

  async read(columns, rows) {
    return new Uint8Array(this.#draw(columns, rows).data.buffer);
  }

  async done() {}

  /** The picture of the layer's spectrum. */
  async spectrum() {
    const { values, columns, rows } = this.#spectral(), picture = new OffscreenCanvas(columns, rows);
    const image = new ImageData(columns, rows), colours = coloured(values, RANGE, this.tables.field);
    values.forEach((_, i) => { // its first row is the lowest, a picture's is at the top
      const to = 4 * ((rows - 1 - Math.floor(i / columns)) * columns + (i % columns));
      for (let c = 0; c < 3; c++) image.data[to + c] = colours[3 * i + c] + 0.5;
      image.data[to + 3] = 255;
    });
    picture.getContext("2d").putImageData(image, 0, 0);
    return picture.transferToImageBitmap();
  }

  /** Decibels [rows x columns] of the layer's spectrum. */
  async decibels() {
    return this.#spectral().values;
  }

  #spectral() {
    const { values, columns, rows } = reduced(this.layer, this.width, this.height);
    return { values: decibels(values, columns, rows), columns, rows };
  }

  #draw(columns, rows) {
    if (this.#picture.width !== columns || this.#picture.height !== rows)
      Object.assign(this.#picture, { width: columns, height: rows });
    const image = new ImageData(columns, rows);
    this.#colour(new Uint32Array(image.data.buffer), columns, rows);
    this.#picture.getContext("2d").putImageData(image, 0, 0);
    return image;
  }

  /** As colour.wgsl, in packed pixels: red is the lowest byte. */
  #colour(pixels, columns, rows) {
    const { width, height, bands, sheets, shown } = this;
    const table = Float64Array.from(this.tables.painted), under = coloured(this.field, this.range, this.tables.field);
    const across = places(width, columns, (i) => (i + width) % width);
    const up = places(height, rows, (i) => Math.min(Math.max(i, 0), height - 1));
    const sheet = Int32Array.from({ length: columns }, (_, p) => Math.floor(((2 * p + 1) * sheets) / (2 * columns)));
    for (let py = 0, at = 0; py < rows; py++) {
      const row = rows - 1 - py;
      const lower = up.first[row] * width, upper = up.second[row] * width, rise = up.fraction[row];
      const band = Math.floor(((2 * row + 1) * bands) / (2 * rows)) * sheets;
      for (let column = 0; column < columns; column++, at++) {
        const left = across.first[column], right = across.second[column], along = across.fraction[column];
        const bottom = shown[lower + left] + (shown[lower + right] - shown[lower + left]) * along;
        const top = shown[upper + left] + (shown[upper + right] - shown[upper + left]) * along;
        const value = bottom + (top - bottom) * rise, base = 3 * (band + sheet[column]);
        let red = under[base], green = under[base + 1], blue = under[base + 2];
        if (value !== 0) { // most of a layer is unpainted
          const place = placed(value, -LIMIT, LIMIT), entry = place < 254 ? Math.floor(place) : 254;
          const j = 4 * entry, g = place - entry;
          const alpha = table[j + 3] + (table[j + 7] - table[j + 3]) * g;
          const cover = (Math.min(Math.abs(value) / LIMIT, 1) * alpha) / 255;
          red += (table[j] + (table[j + 4] - table[j]) * g - red) * cover;
          green += (table[j + 1] + (table[j + 5] - table[j + 1]) * g - green) * cover;
          blue += (table[j + 2] + (table[j + 6] - table[j + 2]) * g - blue) * cover;
        }
        pixels[at] = (red + 0.5) | ((green + 0.5) << 8) | ((blue + 0.5) << 16) | 0xff000000;
      }
    }
  }
}

/** Colours of values over a range by a table, three numbers each. */
function coloured(values, range, table) {
  const colours = new Float64Array(3 * values.length);
  values.forEach((value, cell) => {
    const place = placed(value, ...range), i = 4 * Math.min(Math.floor(place), 254), f = place - i / 4;
    for (let c = 0; c < 3; c++) colours[3 * cell + c] = table[i + c] + (table[i + c + 4] - table[i + c]) * f;
  });
  return colours;
}

/** Where a value falls in a table, 0..255. */
function placed(value, low, high) {
  return Math.min(Math.max((value - low) / (high - low), 0), 1) * 255;
}

/** The two cells around every pixel's centre along one axis, and how far it is from the first to the second. */
function places(cells, pixels, inside) {
  const first = new Int32Array(pixels), second = new Int32Array(pixels), fraction = new Float64Array(pixels);
  for (let p = 0; p < pixels; p++) {
    const centre = ((2 * p + 1) * cells - pixels) / (2 * pixels), before = Math.floor(centre);
    first[p] = inside(before);
    second[p] = inside(before + 1);
    fraction[p] = centre - before;
  }
  return { first, second, fraction };
}
