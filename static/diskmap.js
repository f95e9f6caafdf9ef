// The Poincare disk seen from a point of it, by disk.wgsl on WebGPU or the same in plain JavaScript.
//
// A view has its point of view a in the middle: z = (w + a) / (1 + conj(a) w) is what is shown at w (Moebius translation).

import { SIDE } from "./dabs.js";
import { findAdapter } from "./adapter.js";

const RING = 1; // geodesic distance between two rings
const MOST = 0.69, GROWTH = 0.88, FAINT = 0.3, RINGS = 5; // as in disk.wgsl

/** The place of the disk that a view from `a` shows at w. */
export function seen([x, y], [ax, ay]) {
  const top = [x + ax, y + ay], below = [1 + ax * x + ay * y, ax * y - ay * x], size = below[0] ** 2 + below[1] ** 2;
  return [(top[0] * below[0] + top[1] * below[1]) / size, (top[1] * below[0] - top[0] * below[1]) / size];
}

/** Where a view from `a` shows a place of the disk. */
export const shownAt = (place, [ax, ay]) => seen(place, [-ax, -ay]);

/** The point of view from which a place of the disk is seen at w: a = (d + c conj(d)) / (1 - |c|^2), c = z w, d = z - w. */
export function viewFrom([zx, zy], [x, y]) {
  const c = [zx * x - zy * y, zx * y + zy * x], d = [zx - x, zy - y], size = 1 - c[0] ** 2 - c[1] ** 2;
  return [(d[0] + c[0] * d[0] + c[1] * d[1]) / size, (d[1] + c[1] * d[0] - c[0] * d[1]) / size];
}

/** What draws the disk: {name, reason, draw}. `kernels`: URL of the folder with disk.wgsl. */
export async function openMap(kernels) {
  try {
    return await GpuMap.create(await findAdapter(), kernels);
  } catch (error) {
    return new PlainMap(error.message);
  }
}

export class PlainMap {
  name = "2d";
  lost = new Promise(() => {});

  constructor(reason) {
    this.reason = reason;
    this.picture = new OffscreenCanvas(1, 1);
  }

  /** A picture of so many pixels along an edge: painting [SIDE x SIDE], colours 256 RGBA, background and ink [r, g, b]. */
  draw({ painting, colours, focus, pixels, background, ink }) {
    const image = new ImageData(pixels, pixels), { data } = image;
    for (let row = 0, to = 0; row < pixels; row++)
      for (let column = 0; column < pixels; column++, to += 4) {
        const across = 2 * column + 1 - pixels, up = pixels - 1 - 2 * row;
        if (across ** 2 + up ** 2 >= pixels ** 2) continue;
        const w = [across / pixels, up / pixels], z = seen(w, focus);
        const value = bilinear(painting, ((1 + z[0]) / 2) * SIDE - 0.5, ((1 - z[1]) / 2) * SIDE - 0.5);
        const place = Math.min(Math.max((value + 1) / 2, 0), 1) * 255, i = Math.min(Math.floor(place), 254);
        const cover = Math.min(Math.abs(value) * GROWTH, MOST), far = Math.hypot(...w);
        const nearest = Math.min(Math.max(Math.round((2 * Math.atanh(far)) / RING), 1), RINGS);
        const away = (Math.abs(far - Math.tanh((nearest * RING) / 2)) * pixels) / 2, line = FAINT * Math.max(1 - away, 0);
        for (let c = 0; c < 3; c++) {
          const from = colours[4 * i + c], colour = from + (colours[4 * i + 4 + c] - from) * (place - i);
          const under = background[c] + (colour - background[c]) * cover;
          data[to + c] = Math.floor(under + (ink[c] - under) * line + 0.5);
        }
        data[to + 3] = 255;
      }
    Object.assign(this.picture, { width: pixels, height: pixels });
    this.picture.getContext("2d").putImageData(image, 0, 0);
    return this.picture;
  }
}

/** A value between cells, the outermost beyond the edge. */
function bilinear(painting, x, y) {
  const left = Math.floor(x), top = Math.floor(y), last = SIDE - 1;
  const cell = (i, j) => painting[Math.min(Math.max(j, 0), last) * SIDE + Math.min(Math.max(i, 0), last)];
  const upper = cell(left, top) + (cell(left + 1, top) - cell(left, top)) * (x - left);
  const lower = cell(left, top + 1) + (cell(left + 1, top + 1) - cell(left, top + 1)) * (x - left);
  return upper + (lower - upper) * (y - top);
}

export class GpuMap {
  name = "webgpu";
  reason = "";

  static async create(adapter, kernels) {
    const answer = await fetch(`${kernels}/disk.wgsl`);
    if (!answer.ok) throw new Error(`${answer.url} answers ${answer.status}`);
    const map = new GpuMap(await adapter.requestDevice());
    const module = map.device.createShaderModule({ code: await answer.text() });
    map.pipeline = await map.device.createComputePipelineAsync({ layout: "auto", compute: { module, entryPoint: "main" } });
    return map;
  }

  constructor(device) {
    this.device = device;
    this.lost = device.lost;
    const { STORAGE, UNIFORM, COPY_DST, COPY_SRC } = GPUBufferUsage;
    const buffer = (size, usage) => device.createBuffer({ size, usage: usage | COPY_DST | COPY_SRC });
    this.view = buffer(32, UNIFORM);
    this.painting = buffer(4 * SIDE * SIDE, STORAGE);
    this.colours = buffer(1024, STORAGE);
    this.picture = new OffscreenCanvas(1, 1);
    this.context = this.picture.getContext("webgpu");
    this.format = navigator.gpu.getPreferredCanvasFormat(); // the kernel treats channels alike
    this.context.configure({ device, format: this.format, alphaMode: "premultiplied",
      usage: GPUTextureUsage.COPY_DST | GPUTextureUsage.COPY_SRC });
  }

  #resize(pixels) {
    if (this.picture.width === pixels && this.pixels) return;
    Object.assign(this.picture, { width: pixels, height: pixels });
    this.stride = 64 * Math.ceil(pixels / 64); // a copied row starts at a multiple of 256 bytes
    this.pixels?.destroy();
    this.pixels = this.device.createBuffer({ size: 4 * this.stride * pixels,
      usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC });
    const entries = [this.view, this.painting, this.colours, this.pixels].map((buffer, binding) => (
      { binding, resource: { buffer } }));
    this.group = this.device.createBindGroup({ layout: this.pipeline.getBindGroupLayout(0), entries });
  }

  /** As `PlainMap.draw`. */
  draw({ painting, colours, focus, pixels, background, ink }) {
    this.#resize(pixels);
    if (this.format === "bgra8unorm") {
      [background, ink] = [background, ink].map(([r, g, b]) => [b, g, r]);
      colours = colours.map((_, i) => colours[i % 4 === 3 ? i : 4 * Math.floor(i / 4) + 2 - (i % 4)]);
    }
    const { queue } = this.device, view = new DataView(new ArrayBuffer(32));
    [SIDE, pixels, this.stride].forEach((value, i) => view.setUint32(4 * i, value, true));
    [background, ink].forEach(([r, g, b], i) => view.setUint32(12 + 4 * i, r | (g << 8) | (b << 16), true));
    [...focus, RING].forEach((value, i) => view.setFloat32(20 + 4 * i, value, true));
    queue.writeBuffer(this.view, 0, view);
    queue.writeBuffer(this.painting, 0, painting);
    queue.writeBuffer(this.colours, 0, colours);
    const encoder = this.device.createCommandEncoder(), pass = encoder.beginComputePass();
    pass.setPipeline(this.pipeline);
    pass.setBindGroup(0, this.group);
    pass.dispatchWorkgroups(Math.ceil(this.stride / 256), pixels);
    pass.end();
    encoder.copyBufferToTexture({ buffer: this.pixels, bytesPerRow: 4 * this.stride },
      { texture: this.context.getCurrentTexture() }, [pixels, pixels]);
    queue.submit([encoder.finish()]);
    return this.picture.transferToImageBitmap();
  }
}
