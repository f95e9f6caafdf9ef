// The spectrum of a layer on WebGPU: reduced where it is large, transformed along rows and columns, in decibels, coloured.

import { MOST, RANGE, radices, roots } from "./spectrum.js";

const CELLS = 1024; // values that a workgroup of fft.wgsl holds
const REAL = 1, PAIRS = 0; // what a transform reads and writes, as in fft.wgsl
const STORAGE = 0x80 | 0x08 | 0x04, UNIFORM = 0x40 | 0x08; // GPUBufferUsage, with COPY_DST and COPY_SRC

export class GpuSpectrum {
  /**
   * engine: {device, width, height, format}; layer, tables: its buffers; code: {reduce, fft, power, colour}, the kernels'
   * texts; canvas: an OffscreenCanvas to draw on.
   */
  static async create(engine, code) {
    const spectrum = new GpuSpectrum(engine);
    await spectrum.#build(code);
    return spectrum;
  }

  constructor({ device, width, height, format, layer, tables }) {
    Object.assign(this, { device, width, height, format });
    this.columns = Math.min(width, MOST);
    this.rows = Math.min(height, MOST);
    this.stride = 64 * Math.ceil(this.columns / 64);
    const cells = this.columns * this.rows;
    this.buffers = { layer, tables, small: this.#buffer(4 * cells), rowed: this.#buffer(8 * cells),
      whole: this.#buffer(8 * cells), decibels: this.#buffer(4 * cells), nothing: this.#buffer(16),
      pixels: this.#buffer(4 * this.stride * this.rows) };
    for (const n of new Set([this.columns, this.rows]))
      this.buffers[`roots${n}`] = this.#filled(Float32Array.from(roots(n)), STORAGE);
    this.picture = new OffscreenCanvas(this.columns, this.rows);
    this.context = this.picture.getContext("webgpu");
    this.context.configure({ device, format: this.format, alphaMode: "opaque",
      usage: GPUTextureUsage.COPY_DST | GPUTextureUsage.COPY_SRC });
  }

  #buffer(size) {
    return this.device.createBuffer({ size: 16 * Math.ceil(size / 16), usage: STORAGE });
  }

  #filled(data, usage) {
    const buffer = this.device.createBuffer({ size: 16 * Math.ceil(data.byteLength / 16), usage });
    this.device.queue.writeBuffer(buffer, 0, data);
    return buffer;
  }

  async #build(code) {
    const { width, height, columns, rows, stride } = this, reduced = width > MOST || height > MOST;
    const fft = (n, inner, outer, source) => ({
      code: code.fft, entry: "inside", groups: [Math.ceil((outer * inner) / Math.floor(CELLS / n))],
      constants: { source, target_kind: PAIRS, N: n, INNER: inner, RADIX: n, SPAN: 1, COLUMNS: Math.floor(CELLS / n) },
      uniforms: Uint32Array.from({ length: 12 }, (_, i) => [outer, n, radices(n).length, 0, ...radices(n)][i] ?? 0) });
    const range = new Uint32Array(Float32Array.from(RANGE).buffer);
    this.passes = await Promise.all([
      ...(reduced ? [{ code: code.reduce, bound: ["layer", "small"], groups: [Math.ceil((columns * rows) / 4)],
        uniforms: [width, height, rows, columns] }] : []),
      { ...fft(columns, 1, rows, REAL), bound: [reduced ? "small" : "layer", `roots${columns}`, "rowed"] },
      { ...fft(rows, columns, 1, PAIRS), bound: ["rowed", `roots${rows}`, "whole"] },
      { code: code.power, bound: ["whole", "decibels"], groups: [Math.ceil((columns * rows) / 256)],
        uniforms: [columns, rows] },
      { code: code.colour, bound: ["nothing", "decibels", "tables", "pixels"], groups: [Math.ceil(stride / 256), rows],
        uniforms: [1, 1, rows, columns, columns, rows, stride, ...range] },
    ].map((pass) => this.#pass(pass)));
  }

  async #pass({ code, entry = "main", constants = {}, bound, groups, uniforms }) {
    const { device } = this;
    const pipeline = await device.createComputePipelineAsync({ layout: "auto",
      compute: { module: device.createShaderModule({ code }), entryPoint: entry, constants } });
    const fields = this.#filled(Uint32Array.from({ length: 12 }, (_, i) => uniforms[i] ?? 0), UNIFORM);
    const entries = [fields, ...bound.map((name) => this.buffers[name])].map((buffer, binding) => (
      { binding, resource: { buffer } }));
    return { pipeline, groups, group: device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }) };
  }

  /** Encode all but the colours. */
  measure(encoder) {
    for (const pass of this.passes.slice(0, -1)) this.#dispatch(encoder, pass);
  }

  /** Encode the picture too; `present` hands it over once it is submitted. */
  draw(encoder) {
    for (const pass of this.passes) this.#dispatch(encoder, pass);
    const { columns, rows, stride } = this, texture = this.context.getCurrentTexture();
    encoder.copyBufferToTexture({ buffer: this.buffers.pixels, bytesPerRow: 4 * stride }, { texture }, [columns, rows]);
  }

  present() {
    return this.picture.transferToImageBitmap();
  }

  #dispatch(encoder, { pipeline, group, groups }) {
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(...groups);
    pass.end();
  }
}
