// What was painted, on the host: enough to undo, and to bring a new device to where the lost one was.
//
// A step is one stroke or one clearing: its operations, until the layer after it has been read back; then that layer.

const KEEP = 32; // layers one can go back

/** The last steps of a layer and the layer before them. */
export class Painting {
  #base;
  #steps = [];

  constructor(layer) {
    this.#base = layer;
  }

  /** How many steps can be undone. */
  get depth() {
    return this.#steps.length;
  }

  /** Start a stroke; with a layer, a finished step that sets it. */
  begin(layer = null) {
    this.#steps.push({ operations: [], layer, open: !layer });
    this.#trim();
  }

  /** Add a deposit to the open stroke and apply it where there is an engine. */
  add(operation, engine) {
    this.#steps.at(-1).operations.push(operation);
    engine?.deposit(operation);
  }

  /** The open stroke is over: read the layer back. */
  end(engine) {
    const step = this.#steps.at(-1);
    step.open = false;
    if (engine) this.#readBack(step, engine);
  }

  /** Forget the newest step; false where there is none. */
  undo() {
    return this.#steps.pop() !== undefined;
  }

  /** Bring an engine's layer to where the painting is: the newest layer known, then the operations since. */
  restore(engine) {
    const known = this.#steps.findLastIndex((step) => step.layer);
    engine.setLayer(known < 0 ? this.#base : this.#steps[known].layer);
    for (const step of this.#steps.slice(known + 1)) {
      for (const operation of step.operations) engine.deposit(operation);
      if (!step.open) this.#readBack(step, engine);
    }
  }

  #readBack(step, engine) {
    engine.copyLayer().then((layer) => {
      step.layer = layer;
      step.operations = [];
      this.#trim();
    }, () => {}); // the device went away; `restore` asks the next one
  }

  #trim() {
    while (this.#steps.length > KEEP && this.#steps[0].layer) this.#base = this.#steps.shift().layer;
  }
}
