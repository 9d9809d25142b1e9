"""The program that starts CUDA on the first visible device. Its argument is the compute capability, like 86, if known.

It prints two lines of JSON. The first describes the installed torch: for which compute capabilities it was built, and
which other builds of the same version have code for the one that is named (like 86). The second is the error, null when
torch computes on the device. A start that hangs ends the process before the second.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import sys
from typing import Any

_LIMIT_S = 60.0
"""Without persistence mode, on a machine with many cards, CUDA starts within some seconds."""


def describe_torch(torch: Any, capability: int | None) -> dict[str, Any]:
    """How torch was built.

    Parameters
    ----------
    torch : module
    capability : int or None
        Ten times the major and the minor compute capability of the device, where it is known.
    """
    # torch.cuda.get_arch_list() would start CUDA.
    flags = getattr(torch._C, "_cuda_getArchFlags", lambda: None)() or ""
    return {
        "version": str(torch.__version__),
        "cuda": torch.version.cuda,
        "codes": [flag.removeprefix("sm_") for flag in flags.split() if flag.startswith("sm_")],
        "builds": None if capability is None else _builds_with_code(torch, capability),
    }


def start_cuda(torch: Any) -> str | None:
    """Compute something on the device; returns the error, if there is one."""
    try:
        # The sum is a kernel of torch's own, for which it needs code; .item() waits for it.
        (torch.zeros(1, device="cuda") + 1).item()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def _builds_with_code(torch: Any, capability: int) -> list[str] | None:
    """Versions of CUDA for which this version of torch is published with code for the device; torch 2.13 lists them."""
    cuda = torch.cuda
    try:
        host = cuda._host_arch_key()
        return [
            version
            for version, codes in cuda.PYTORCH_RELEASES_CODE_CC.items()
            if any(cuda._code_compatible_with_device(capability, code) for code in codes.get(host, ()))
        ]
    except AttributeError:  # another version of torch
        return None


if __name__ == "__main__":
    installed = importlib.import_module("torch")
    print(json.dumps(describe_torch(installed, int(sys.argv[1]) if len(sys.argv) > 1 else None)), flush=True)
    # In a thread of its own, without Python: a driver that hangs may hold the interpreter.
    faulthandler.dump_traceback_later(_LIMIT_S, exit=True)
    error = None if installed.version.cuda is None else start_cuda(installed)
    faulthandler.cancel_dump_traceback_later()
    print(json.dumps(error))
