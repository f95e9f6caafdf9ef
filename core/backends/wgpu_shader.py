"""Shader modules without the counter that naga adds to each loop.

The counter guards a browser against foreign kernels that never end. It keeps a driver from unrolling: on an H100 a
recurrence runs at half its speed with it. Ours end, so they go without; the checks of every index stay.
wgpu-py has no name for this yet, so its binding of wgpu-native is called.
"""

from __future__ import annotations

from typing import Any

from wgpu.backends.wgpu_native import ffi, lib
from wgpu.backends.wgpu_native._api import GPUShaderModule, libf, new_struct_p, to_c_string_view

BOUNDS_CHECKS = 1  # WGPUShaderRuntimeChecks_BoundsChecks


def shader_module(device: Any, text: str) -> Any:
    """Compile WGSL; an error of the compiler is a `wgpu.GPUValidationError`."""
    source = new_struct_p("WGPUShaderSourceWGSL *", code=to_c_string_view(text))
    source[0].chain.next = ffi.NULL
    source[0].chain.sType = lib.WGPUSType_ShaderSourceWGSL
    descriptor = new_struct_p("WGPUShaderModuleDescriptor *", nextInChain=ffi.cast("WGPUChainedStruct *", source),
                              label=to_c_string_view(""))
    module = libf.wgpuDeviceCreateShaderModuleTrusted(device._internal, descriptor, BOUNDS_CHECKS)
    return GPUShaderModule("", module, device)
