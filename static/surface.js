// A canvas that is painted on: one layer over a measured field, on WebGPU or, where there is none, in plain JavaScript.
//
//   const surface = await Surface.create(canvas, {kernels: "kernels", bands: 6, sheets: 8, tables});
//   surface.addEventListener("backend", () => show(surface.backend, surface.reason));
//   surface.addEventListener("change", () => {}); // of what is painted
//   surface.begin({size: 0.04, strength: 0.5}); surface.extend([surface.place(event)]); surface.end();
//
// The page gives the canvas its size by style; width and height attributes stay alone. Listen to pointers on the canvas
// itself: it is never replaced, because engines draw off screen and hand over bitmaps.

import { Losses, Unavailable, findAdapter } from "./adapter.js";
import { REST, WAVE, assertWhole, layerSize, point, settings, spread, stamps } from "./brush.js";
import { onRatio } from "./dom.js";
import { MOST, Painting } from "./painting.js";
import { PlainEngine } from "./surface2d.js";
import { GpuEngine } from "./surfacegpu.js";

const WHOLE = [[0, 0], [1, 1]], WIPE = { tool: "stamp", size: 1, strength: 1, erase: true };
const MOST_STEPS = 4; // of the wave in one frame: with a deposit and the colours six dispatches
const SLOW = 40; // ms of a frame from which the picture gets coarser
const FAST = 12; // ms of a frame up to which it gets finer again
const PACED = 8; // frames that are judged together

export class Surface extends EventTarget {
  /** "webgpu", "2d", or "starting" while a device is asked for. */
  backend = "starting";
  /** Why it is 2d; empty on WebGPU. */
  reason = "";
  /** Frames drawn so far. */
  frames = 0;

  #engine = null; // null while a device is asked for: operations wait in the painting
  #ready; // promise of the engine
  #generation = 0; // callbacks of an older engine are ignored
  #losses = new Losses();
  #stroke = null; // the open one
  #restored = []; // stamps that make the relation which was restored last
  #moving = false;
  #restsAt = 0;
  #steppedAt = 0;
  #request = 0;
  #columns = 0;
  #rows = 0;
  #share = 1; // of the device's pixels along an edge
  #took = []; // ms of the last frames

  /**
   * Take over a canvas.
   *
   * kernels: URL of the folder with the WGSL files, or their texts by name; bands, sheets: the frame's grid; tables:
   * {field, painted}, two Uint8Arrays of 256 RGBA entries, the field's from low to high, the painted layer's from -3 to
   * 3; coarsest: the share of the device's pixels along an edge that is left where frames take long.
   */
  static async create(canvas, options) {
    const surface = new Surface(canvas, options);
    await surface.#ready;
    return surface;
  }

  /** As `create`, without waiting for an engine: what is done meanwhile it does when it comes. */
  constructor(canvas, { kernels, bands, sheets, tables, coarsest = 1 / 4 }) {
    super();
    this.coarsest = coarsest;
    this.canvas = canvas;
    this.shape = { bands, sheets, ...layerSize(bands, sheets) };
    this.kernels = kernels;
    this.field = { values: new Float32Array(bands * sheets), range: [0, 1] };
    this.#checkTables(tables);
    this.tables = tables;
    this.painting = new Painting(new Float32Array(this.shape.width * this.shape.height), this.shape);
    this.target = canvas.getContext("bitmaprenderer");
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    this.observer = new ResizeObserver((entries) => this.#resized(entries.at(-1)));
    try {
      this.observer.observe(canvas, { box: "device-pixel-content-box" });
    } catch {
      this.observer.observe(canvas); // Safari measures in CSS pixels only, which stay on another screen
      this.unwatch = onRatio(() => this.measured && this.#resized(this.measured));
    }
    this.visible = () => this.#wake();
    document.addEventListener("visibilitychange", this.visible);
    this.#ready = this.#start("");
  }

  /** The GPUDevice in use, or null. */
  get device() {
    return this.#engine?.device ?? null;
  }

  /** Counts engines: it changes when a device was lost and replaced. */
  get generation() {
    return this.#generation;
  }

  /** Whether frames are being drawn, or will be as soon as the page is seen. */
  get moving() {
    return this.#moving;
  }

  /** Steps that `undo` can take back. */
  get depth() {
    return this.painting.depth;
  }

  /** Steps that `redo` can do again. */
  get ahead() {
    return this.painting.ahead;
  }

  /** Give everything back. */
  release() {
    this.#generation++;
    this.observer.disconnect();
    this.unwatch?.();
    document.removeEventListener("visibilitychange", this.visible);
    cancelAnimationFrame(this.#request);
    this.#engine?.release();
    this.#engine = null;
  }

  // --- painting ------------------------------------------------------------------------------------------------------

  /** Where a pointer event lies on the chart: [turns, height]. */
  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, 1 - (event.clientY - box.top) / box.height];
  }

  /** Start a stroke of a tool: {tool, size, strength, hardness, sign, erase, mirror}, see brush.js. */
  begin(options) {
    this.#stroke = { ...settings(options), points: [] };
    this.painting.begin(this.#stroke);
  }

  /** Go on to points [x, y, milliseconds, pressure] in chart units; a brush paints at once, the other tools at the end. */
  extend(points) {
    if (!this.#stroke) throw new Error("there is no stroke: begin one first");
    for (const given of points) this.painting.extend(point(given), this.#engine);
    if (this.#stroke.tool === "brush") this.#stir();
  }

  /** The stroke is over. */
  end() {
    const stroke = this.#stroke;
    if (!stroke) return;
    try {
      assertWhole(stroke);
    } catch (error) {
      this.cancel();
      throw error;
    }
    this.#stroke = null;
    this.painting.end(this.#engine);
    this.#stir();
  }

  /** Give the open stroke up, as if it had never been begun. */
  cancel() {
    if (!this.#stroke) return;
    this.#stroke = null;
    this.painting.drop();
    this.#restore();
  }

  /** A whole stroke; one that cannot be leaves nothing. */
  stroke(points, options) {
    this.begin(options);
    try {
      this.extend(points);
      this.end();
    } finally {
      this.cancel();
    }
  }

  /** Take the last stroke back; false where there is none. */
  undo() {
    this.cancel();
    const undone = this.painting.undo();
    if (undone) this.#restore();
    return undone;
  }

  /** Do what was undone last again; false where there is nothing. A new stroke forgets it. */
  redo() {
    this.cancel();
    const redone = this.painting.redo(this.#engine);
    if (redone) this.#stir();
    return redone;
  }

  /** Wipe the layer: one more stroke, that erases the whole chart. */
  clear() {
    this.cancel();
    this.stroke(WHOLE, WIPE);
  }

  /** Make the layer level in every cell of a relation, in one step; `again` takes the place of the one before. */
  level(relation, again = false) {
    const { bands, sheets } = this.shape;
    this.cancel();
    const wipe = { ...settings(WIPE), points: WHOLE.map(point) };
    this.painting.replace(spread(relation, bands, sheets), [wipe, ...stamps(relation, bands, sheets)], again);
    this.#restore();
  }

  /** The strokes that lead to the layer, as canvas.strokes.Recording reads them; a restored relation as stamps. */
  recording() {
    const { bands, sheets } = this.shape, strokes = [...this.#restored, ...this.painting.strokes];
    if (strokes.length > MOST || this.painting.forgotten)
      throw new RangeError(`a recording holds ${MOST} strokes, and there are more: save earlier, or clear the layer first`);
    return { version: 2, bands, sheets, strokes };
  }

  /** The layer's area means [bands x sheets]. */
  relation() {
    return this.#ask((engine) => engine.relation());
  }

  /** Restore a layer that is level in every cell of a relation; a new start: nothing before it can be undone. */
  setRelation(relation) {
    const { bands, sheets } = this.shape, layer = spread(relation, bands, sheets);
    this.#stroke = null;
    this.#restored = stamps(relation, bands, sheets);
    this.painting = new Painting(layer, this.shape);
    this.#restore();
  }

  // --- showing -------------------------------------------------------------------------------------------------------

  /** Show a measured field [bands x sheets] over a range [low, high]. */
  setField(values, [low, high]) {
    const { bands, sheets } = this.shape;
    if (values.length !== bands * sheets)
      throw new RangeError(`the field has ${values.length} values, the chart ${bands} x ${sheets}`);
    if (!(Number.isFinite(low) && Number.isFinite(high))) throw new RangeError(`the range ${low}..${high} is not finite`);
    this.field = { values: Float32Array.from(values), range: [low, high > low ? high : low + 1] };
    this.#engine?.setField(this.field.values, ...this.field.range);
    this.#wake();
  }

  /** Other colours, as for another theme. */
  setTables(tables) {
    this.#checkTables(tables);
    this.tables = tables;
    this.#engine?.setTables(tables);
    this.#wake();
  }

  /** Draw one frame: the wave as far as the time has gone, colour, present. Calls itself again while something moves. */
  frame(now = performance.now()) {
    cancelAnimationFrame(this.#request);
    this.#request = 0;
    const engine = this.#engine, began = performance.now();
    if (!engine || document.hidden || !this.#columns || !this.#rows) return;
    if (this.#moving) {
      if (now >= this.#restsAt || this.still.matches) {
        engine.settle();
        this.#moving = false;
      } else {
        const steps = Math.max(0, Math.floor((now - this.#steppedAt) / (1000 * WAVE.dt)));
        this.#steppedAt = steps > MOST_STEPS ? now : this.#steppedAt + steps * 1000 * WAVE.dt;
        if (steps > 0) engine.step(Math.min(steps, MOST_STEPS));
      }
    }
    this.target.transferFromImageBitmap(engine.present(this.#columns, this.#rows));
    this.frames++;
    engine.done().then(() => this.#pace(performance.now() - began));
    if (this.#moving) this.#wake();
  }

  /** A coarser picture where frames take long, a finer one where they do not. */
  #pace(took) {
    this.#took.push(took);
    if (this.#took.length < PACED) return;
    const middle = this.#took.sort((a, b) => a - b)[PACED / 2];
    this.#took = [];
    const share = middle > SLOW ? Math.max(this.#share / 1.5, this.coarsest) : middle < FAST ? Math.min(this.#share * 1.25, 1) : this.#share;
    if (share === this.#share) return;
    this.#share = share;
    this.#resized(this.measured);
  }

  /**
   * The layer's spectrum: {picture, decibels, columns, rows}, an ImageBitmap and the values behind it, the lowest row
   * first. Zero frequency is in the middle; it has as many cells as the layer, but at most 256 along an edge.
   */
  spectrum() {
    return this.#ask((engine) => engine.spectrum());
  }

  /** RGBA bytes of what is shown, top row first; `size` says how many. */
  read() {
    return this.#ask((engine) => engine.read(this.#columns, this.#rows));
  }

  /** The picture's size in device pixels. */
  get size() {
    return { columns: this.#columns, rows: this.#rows };
  }

  #checkTables(tables) {
    for (const name of ["field", "painted"])
      if (tables?.[name]?.length !== 1024) throw new RangeError(`tables.${name} needs 256 RGBA entries`);
  }

  #resized(entry) {
    const exact = entry.devicePixelContentBoxSize?.[0], css = entry.contentBoxSize[0], ratio = devicePixelRatio;
    let columns = exact ? exact.inlineSize : Math.round(css.inlineSize * ratio);
    let rows = exact ? exact.blockSize : Math.round(css.blockSize * ratio);
    const most = this.#engine?.maxPixels ?? Infinity, share = Math.min(this.#share, Math.sqrt(most / (columns * rows)));
    [columns, rows] = [columns, rows].map((n) => Math.min(Math.floor(n * share) || Math.min(n, 1), 8192));
    this.measured = entry;
    if (columns === this.#columns && rows === this.#rows) return;
    [this.#columns, this.#rows] = [columns, rows];
    this.frame(); // at once: a stretched frame would be seen
  }

  /** Something was painted: let it ring. */
  #stir() {
    const now = performance.now();
    if (!this.#moving) this.#steppedAt = now;
    this.#moving = true;
    this.#restsAt = now + 1000 * REST;
    this.dispatchEvent(new Event("change"));
    this.#wake();
  }

  /** One frame soon; none while nobody looks. */
  #wake() {
    if (!this.#request && this.#engine && !document.hidden) this.#request = requestAnimationFrame((t) => this.frame(t));
  }

  // --- backends ------------------------------------------------------------------------------------------------------

  #restore() {
    if (this.#engine) this.painting.restore(this.#engine);
    this.#stir();
  }

  /** Ask the engine; where its device goes away under the question, ask the next one. */
  async #ask(question) {
    for (;;) {
      const engine = await this.#ready;
      try {
        return await question(engine);
      } catch (error) {
        const gone = engine.lost.then(() => true);
        if (!(await Promise.race([gone, new Promise((resolve) => setTimeout(resolve, 1000, false))]))) throw error;
      }
    }
  }

  /** Get an engine and bring it to where the painting is. `again` is why this is not the first. */
  async #start(again) {
    const generation = ++this.#generation;
    let engine, reason = "";
    try {
      if (this.#losses.many) throw new Unavailable(again);
      engine = await GpuEngine.create(await findAdapter(), this.kernels, this.shape);
    } catch (error) {
      engine = new PlainEngine(this.shape);
      reason = again || (error instanceof Unavailable ? error.message : `WebGPU failed: ${error.message}`);
    }
    if (generation !== this.#generation) {
      engine.release(); // the surface was given back meanwhile
      return engine;
    }
    engine.lost.then(() => this.#lose(generation));
    engine.setTables(this.tables);
    engine.setField(this.field.values, ...this.field.range);
    this.#engine = engine;
    this.painting.restore(engine);
    engine.settle();
    this.#moving = false;
    if (this.measured) this.#resized(this.measured);
    this.#tell(engine.name, reason);
    this.#wake();
    return engine;
  }

  #lose(generation) {
    if (generation !== this.#generation) return;
    this.#losses.add();
    this.#engine = null;
    this.#ready = this.#start("the device was lost");
  }

  #tell(backend, reason) {
    if (backend === this.backend && reason === this.reason) return;
    Object.assign(this, { backend, reason });
    this.dispatchEvent(new CustomEvent("backend", { detail: { backend, reason } }));
  }
}
