// A WebGPU adapter, or why there is none; and whether one that was lost is worth another try.

const MOST = 3, WITHIN = 60_000; // losses, ms

/** Why there is no WebGPU, in words for the user. */
export class Unavailable extends Error {}

/** What WebGPU draws with here; without one an error that says why. */
export async function findAdapter() {
  if (!isSecureContext) throw new Unavailable("insecure origin: open it over https or localhost");
  if (!navigator.gpu) throw new Unavailable("no WebGPU in this browser");
  const adapter = await navigator.gpu.requestAdapter();
  if (!adapter) throw new Unavailable("no adapter");
  return adapter;
}

/** When devices were lost. */
export class Losses {
  #times = [];

  add() {
    const now = performance.now();
    this.#times = [...this.#times.filter((time) => now - time < WITHIN), now];
  }

  /** Whether another device would be lost, too. */
  get many() {
    return this.#times.length >= MOST;
  }
}
