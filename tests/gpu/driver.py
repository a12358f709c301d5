"""CUDA as programs of jobs have it, by the driver's own library: it needs no framework, and starts at once.

It is put beside the programs of images, and imported by nobody else.
"""

from __future__ import annotations

import ctypes
import uuid

_cuda = ctypes.CDLL("libcuda.so.1")
# cuda.h: there is no device that this process may see.
_NO_DEVICE = 100


def uuids() -> list[str]:
    """Give the UUIDs of the GPUs that this process sees, in CUDA's order."""
    if (code := _cuda.cuInit(0)) == _NO_DEVICE:
        return []
    _checked(code)
    count = ctypes.c_int()
    _checked(_cuda.cuDeviceGetCount(ctypes.byref(count)))
    found = []
    for number in range(count.value):
        raw = (ctypes.c_ubyte * 16)()
        _checked(_cuda.cuDeviceGetUuid(ctypes.byref(raw), number))
        found.append(f"GPU-{uuid.UUID(bytes=bytes(raw))}")
    return found


def take(size: int) -> None:
    """Take so many bytes of the first GPU's memory, and write to them. They are held until the process ends."""
    _checked(_cuda.cuInit(0))
    context, memory = ctypes.c_void_p(), ctypes.c_uint64()
    _checked(_cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0))
    _checked(_cuda.cuCtxSetCurrent(context))
    _checked(_cuda.cuMemAlloc_v2(ctypes.byref(memory), ctypes.c_size_t(size)))
    _checked(_cuda.cuMemsetD8_v2(memory, ctypes.c_ubyte(1), ctypes.c_size_t(size)))
    _checked(_cuda.cuCtxSynchronize())


def _checked(code: int) -> None:
    if code:
        raise OSError(code, "the CUDA driver refused")
