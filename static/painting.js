// What was painted, as strokes: enough to undo and redo all of them, and to bring a new device to where the lost one was.
//
// Layers are kept only to be quick: all of the newest steps, of older ones every 32nd. From a layer known the strokes
// since are deposited again, which one backend does bit for bit alike.

import { MAX_POINTS, deposits, move } from "./brush.js";

const EVERY = 32;
export const MOST = 4096; // strokes one can go back, and that a recording holds

export class Painting {
  #base; // the layer before the first step
  #shape;
  #steps = []; // {number, stroke, layer, open, reading}, or of a whole layer {number, strokes, layer}
  #undone = [];
  #count = 0;

  constructor(layer, shape) {
    this.#base = layer;
    this.#shape = shape;
  }

  /** How many steps can be undone. */
  get depth() {
    return this.#steps.length;
  }

  /** How many steps can be done again. */
  get ahead() {
    return this.#undone.length;
  }

  /** The strokes, oldest first, but for an open one. */
  get strokes() {
    return this.#steps.filter((step) => !step.open).flatMap((step) => step.strokes ?? [step.stroke]);
  }

  /** Whether the first strokes are kept no longer. */
  forgotten = false;

  /** Start a stroke; one that ends makes an end of `redo`. */
  begin(stroke) {
    this.#steps.push({ number: this.#count++, stroke, layer: null, open: true });
  }

  /** Go on to a point; a brush leaves its mark at once. What a recording could not hold is left out. */
  extend(point, engine) {
    const { stroke } = this.#steps.at(-1), before = stroke.points.at(-1) ?? null;
    if (stroke.points.length === MAX_POINTS) return;
    stroke.points.push(point);
    if (stroke.tool !== "brush") return;
    const operation = move(before, point, stroke, this.#shape);
    if (operation) engine?.deposit(operation);
  }

  /** The open stroke is over: deposit what is left of it, and read the layer back. */
  end(engine) {
    const step = this.#steps.at(-1), { stroke } = step;
    step.open = false;
    this.#undone = [];
    if (!engine) return;
    const rest = stroke.tool === "brush" ? [move(null, stroke.points.at(-1), stroke, this.#shape)] : deposits(stroke, this.#shape);
    for (const operation of rest) engine.deposit(operation);
    this.#readBack(step, engine);
  }

  /** A whole layer as one step, and the strokes that would leave it; `again` takes the place of such a step before it. */
  replace(layer, strokes, again) {
    if (again && this.#steps.at(-1)?.strokes) this.#steps.pop();
    this.#steps.push({ number: this.#count++, strokes, layer });
    this.#undone = [];
    this.#thin();
  }

  /** Forget the open stroke; what it left goes with `restore`. */
  drop() {
    this.#steps.pop();
  }

  /** Take the newest step back; false where there is none. */
  undo() {
    const step = this.#steps.pop();
    if (step) this.#undone.push(step.strokes ? step : Object.assign(step, { layer: null }));
    return Boolean(step);
  }

  /** Do the step that was undone last again, on an engine whose layer is where the painting is; false where there is none. */
  redo(engine) {
    const step = this.#undone.pop();
    if (!step) return false;
    this.#steps.push(step);
    if (engine) this.#deposit(step, engine);
    return true;
  }

  /** Bring an engine's layer to where the painting is: the newest layer known, then the strokes since. */
  restore(engine) {
    const known = this.#steps.findLastIndex((step) => step.layer);
    engine.setLayer(known < 0 ? this.#base : this.#steps[known].layer);
    for (const step of this.#steps.slice(known + 1)) {
      if (step.open && step.stroke.tool !== "brush") continue; // nothing is painted of it yet
      this.#deposit(step, engine);
    }
  }

  #deposit(step, engine) {
    if (step.strokes) return engine.setLayer(step.layer); // a whole layer
    for (const operation of deposits(step.stroke, this.#shape, !step.open)) engine.deposit(operation);
    if (!step.open) this.#readBack(step, engine);
  }

  #readBack(step, engine) {
    if (step.reading) return; // undo after undo comes by here faster than layers come home
    step.reading = true;
    engine.copyLayer().then((layer) => {
      step.layer = layer;
      this.#thin();
    }, () => {}).finally(() => { step.reading = false; }); // where the device went away `restore` asks the next one
  }

  #thin() {
    const steps = this.#steps;
    for (const step of steps.slice(0, -EVERY)) if (step.number % EVERY && !step.strokes) step.layer = null;
    if (steps.length <= MOST) return;
    const first = steps.findIndex((step) => step.layer);
    this.#base = steps[first].layer;
    steps.splice(0, first + 1);
    this.forgotten = true;
  }
}
