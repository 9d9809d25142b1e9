"""A stand-in for the module `torch` of torch 2.13.0+cu130, which is what PyPI has for Linux and weighs 4.7 GB.

The torch of the tests is a build for the CPU, which never asks a driver. This one asks the driver as the real one does
and speaks with its words (torch 2.13, CUDA 13.0). What can't exist without a GPU: a context, memory, a kernel. Whether
a kernel is there for the card is decided by torch's own function and its table of releases, which the real torch of
the tests brings along.
"""

import ctypes
import sys
from types import ModuleType, SimpleNamespace

# REAL_TABLE

__version__ = "2.13.0+cu130"
_CODES = sorted(PYTORCH_RELEASES_CODE_CC["13.0"]["x86_64"])  # noqa: F821 - of REAL_TABLE
_NEEDS = 13000
_ERRORS = {
    2: "out of memory",
    46: "CUDA-capable device(s) is/are busy or unavailable",
    100: "no CUDA-capable device is detected",
    802: "system not yet initialized",
    803: "system has unsupported display driver / cuda driver combination",
    999: "unknown error",
}

version = SimpleNamespace(cuda="13.0", hip=None)
_C = SimpleNamespace(_cuda_getArchFlags=lambda: " ".join(f"sm_{code}" for code in _CODES))
cuda = ModuleType("torch.cuda")
for _name in ("_host_arch_key", "PYTORCH_RELEASES_CODE_CC", "_code_compatible_with_device"):
    setattr(cuda, _name, globals()[_name])
sys.modules["torch.cuda"] = cuda


class _Tensor:
    def __add__(self, number: int) -> "_Tensor":
        return self

    def item(self) -> float:
        return 1.0


def zeros(size: int, device: str) -> _Tensor:
    assert device == "cuda"
    driver = ctypes.CDLL("libcuda.so.1")
    value = ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(value))
    if value.value < _NEEDS:
        raise RuntimeError(
            f"The NVIDIA driver on your system is too old (found version {value.value}). Please update your GPU driver "
            "by downloading and installing a new version from the URL: http://www.nvidia.com/Download/index.aspx "
            "Alternatively, go to: https://pytorch.org to install a PyTorch version that has been compiled with your "
            "version of the CUDA driver."
        )
    code = driver.cuInit(0)
    if code:
        raise RuntimeError(
            "Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before calling "
            "NumCudaDevices() that might have already set an error? Error "
            f"{code}: {_ERRORS[code]}"
        )
    parts = []
    for attribute in (75, 76):
        driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, 0)
        parts.append(value.value)
    capability = 10 * parts[0] + parts[1]
    if not any(_code_compatible_with_device(capability, code) for code in _CODES):  # noqa: F821
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device")
    return _Tensor()
