"""One launch of a kernel as data, and the two places it runs: wgpu (naga) and a browser page (Tint)."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

A = NDArray[Any]


@dataclass(frozen=True)
class Launch:
    """Uniforms at binding 0, storage buffers from binding 1 on; `out` are the bindings read back."""

    kernel: str
    uniforms: bytes
    buffers: tuple[A, ...]
    workgroups: tuple[int, int]
    out: tuple[int, ...]
    entry: str = "main"
    constants: tuple[tuple[str, int], ...] = ()


def packed(values: A) -> A:
    """Flat values with zeros up to a whole number of vec4s."""
    flat = np.ascontiguousarray(values).ravel()
    return np.pad(flat, (0, -flat.size % 4))


def uniforms(*values: float | int) -> bytes:
    """32-bit fields: u32 for int, f32 for float; whole vec4s."""
    fields = [np.float32(v) if isinstance(v, float) else np.uint32(v) for v in values]
    return b"".join(f.tobytes() for f in fields).ljust(-(-len(fields) // 4) * 16, b"\0")


def run_wgpu(device: Any, source: str, launch: Launch) -> list[A]:
    import wgpu

    module = device.create_shader_module(code=source)
    pipeline = device.create_compute_pipeline(layout="auto", compute={
        "module": module, "entry_point": launch.entry, "constants": dict(launch.constants)})
    buffers = [device.create_buffer_with_data(data=launch.uniforms, usage=wgpu.BufferUsage.UNIFORM)]
    usage = wgpu.BufferUsage.STORAGE | wgpu.BufferUsage.COPY_SRC
    buffers += [device.create_buffer_with_data(data=values.tobytes(), usage=usage) for values in launch.buffers]
    entries = [{"binding": i, "resource": {"buffer": b, "offset": 0, "size": b.size}} for i, b in enumerate(buffers)]
    group = device.create_bind_group(layout=pipeline.get_bind_group_layout(0), entries=entries)
    encoder = device.create_command_encoder()
    compute = encoder.begin_compute_pass()
    compute.set_pipeline(pipeline)
    compute.set_bind_group(0, group)
    compute.dispatch_workgroups(*launch.workgroups)
    compute.end()
    device.queue.submit([encoder.finish()])
    return [np.frombuffer(device.queue.read_buffer(buffers[i]), launch.buffers[i - 1].dtype) for i in launch.out]


COMPILE_SCRIPT = """async (code) => {
  if (!window.device) window.device = await (await navigator.gpu.requestAdapter()).requestDevice();
  const module = window.device.createShaderModule({code});
  const said = (await module.getCompilationInfo()).messages.map((m) => `${m.type} ${m.lineNum}: ${m.message}`);
  window.device.pushErrorScope("validation");
  for (const [, name] of code.matchAll(/@workgroup_size[^@{]*fn (\\w+)/g)) {  // every entry point
    const compute = {module, entryPoint: name};
    await window.device.createComputePipelineAsync({layout: "auto", compute}).catch((e) => said.push(String(e)));
  }
  const error = await window.device.popErrorScope();
  return error ? [...said, error.message] : said;
}"""

PAGE_SCRIPT = """async ({source, uniforms, buffers, workgroups, out, entry, constants}) => {
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  if (!window.device) window.device = await (await navigator.gpu.requestAdapter()).requestDevice();
  const device = window.device;
  device.pushErrorScope("validation");
  const compute = {entryPoint: entry, constants}, key = source + JSON.stringify(compute);
  if (window.built?.key !== key) {  // compiling takes most of the time
    const module = device.createShaderModule({code: source});
    const said = (await module.getCompilationInfo()).messages.map((m) => `${m.type} ${m.lineNum}: ${m.message}`);
    window.built = {key, said, pipeline: device.createComputePipeline({layout: "auto", compute: {module, ...compute}})};
  }
  const pipeline = window.built.pipeline, messages = [...window.built.said];
  const upload = (text, usage) => {
    const data = bytes(text), buffer = device.createBuffer({size: data.length, usage: usage | GPUBufferUsage.COPY_DST});
    device.queue.writeBuffer(buffer, 0, data);
    return buffer;
  };
  const all = [upload(uniforms, GPUBufferUsage.UNIFORM),
               ...buffers.map((b) => upload(b, GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC))];
  const group = device.createBindGroup({layout: pipeline.getBindGroupLayout(0),
                                        entries: all.map((buffer, binding) => ({binding, resource: {buffer}}))});
  const encoder = device.createCommandEncoder(), pass = encoder.beginComputePass();
  pass.setPipeline(pipeline); pass.setBindGroup(0, group); pass.dispatchWorkgroups(...workgroups); pass.end();
  const reads = out.map((i) => {
    const copy = device.createBuffer({size: all[i].size, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ});
    encoder.copyBufferToBuffer(all[i], 0, copy, 0, all[i].size);
    return copy;
  });
  device.queue.submit([encoder.finish()]);
  const error = await device.popErrorScope();
  if (error) messages.push(`error: ${error.message}`);
  const results = [];
  for (const copy of error ? [] : reads) {
    await copy.mapAsync(GPUMapMode.READ);
    results.push(btoa(Array.from(new Uint8Array(copy.getMappedRange()), (c) => String.fromCharCode(c)).join("")));
  }
  for (const buffer of [...all, ...reads]) buffer.destroy();
  return {messages, results};
}"""


def run_page(page: Any, source: str, launch: Launch) -> tuple[list[A], list[str]]:
    """Results and what the compiler had to say."""
    text = [base64.b64encode(data).decode() for data in (launch.uniforms, *(b.tobytes() for b in launch.buffers))]
    answer = page.evaluate(PAGE_SCRIPT, {"source": source, "uniforms": text[0], "buffers": text[1:],
                                         "workgroups": launch.workgroups, "out": launch.out, "entry": launch.entry,
                                         "constants": dict(launch.constants)})
    results = [np.frombuffer(base64.b64decode(data), launch.buffers[i - 1].dtype)
               for i, data in zip(launch.out, answer["results"], strict=False)]
    return results, answer["messages"]
