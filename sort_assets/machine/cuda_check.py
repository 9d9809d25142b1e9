"""Whether the installed torch can compute on a GPU.

Only starting CUDA tells. A process of its own does that, because torch takes seconds to import, a driver may hang, and
CUDA must not be started in a process that forks. That it worked is remembered for some hours.
"""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from sort_assets.checks.result import CheckResult, failed, ok
from sort_assets.errors import GpuDriverError, SortAssetsError
from sort_assets.machine.bounded_child import NoAnswerError, ask_child
from sort_assets.machine.cuda_reasons import CudaStart, describe, explain, find_reason
from sort_assets.machine.gpus import Gpu, find_gpus
from sort_assets.machine.torch_build import torch_version_text
from sort_assets.machine.user_cache import user_cache

_START = Path(__file__).with_name("cuda_start.py")
_LIMIT_S = 180.0
"""For importing torch, which a slow share delays, and for starting CUDA, which has a limit of its own."""
_REMEMBERED_S = 6 * 3600.0
_works_here: set[Path] = set()
"""What this process has found out, for a user without a home that can be written to: a sort asks again for each group
of channels."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def check_gpu(gpu: Gpu, *, anew: bool = False) -> SortAssetsError | None:
    """Look whether torch can compute on a GPU.

    Parameters
    ----------
    gpu : Gpu
        As `sort_assets.machine.gpus.find_gpus` found it.
    anew : bool
        Whether to start CUDA although it worked some hours ago.

    Returns
    -------
    SortAssetsError or None
        Why it can't; None when it can.
    """
    marker = _marker(gpu)
    if not anew and (_is_fresh(marker) or marker in _works_here):
        return None
    start = start_on(gpu)
    reason = find_reason(start)
    if reason is not None:
        _works_here.discard(marker)
        with suppress(OSError):
            marker.unlink(missing_ok=True)
        return explain(gpu, start, reason)
    _works_here.add(marker)
    with suppress(OSError):  # a home that can't be written to: then the next process asks again
        marker.parent.mkdir(parents=True, exist_ok=True)
        for old in marker.parent.iterdir():
            if not _is_fresh(old):
                old.unlink(missing_ok=True)
        marker.touch()
    return None


def inspect_gpu(name: str | None) -> list[CheckResult]:
    """Look whether torch can compute on the GPU that a sort is going to use.

    Parameters
    ----------
    name : str or None
        As `CUDA_VISIBLE_DEVICES` names it; None for a sort on the CPU.

    Returns
    -------
    list of CheckResult
        Empty without a GPU; an error carries what `check_gpu` says.
    """
    if name is None:
        return []
    try:
        found = find_gpus()
    except GpuDriverError as error:
        return [failed("gpu", error)]
    if not found:
        return []
    reason = check_gpu(found[0])
    return [ok("gpu", describe(found[0])) if reason is None else failed("gpu", reason)]


def start_on(gpu: Gpu) -> CudaStart:
    """Start CUDA on a device, in a process that is given up after a while."""
    capability = [] if gpu.compute_capability is None else ["{}{}".format(*gpu.compute_capability)]
    silence, hangs = "", False
    try:
        printed = ask_child(_START, *capability, limit_s=_LIMIT_S, environment={"CUDA_VISIBLE_DEVICES": gpu.uuid})
    except NoAnswerError as reason:
        printed, silence, hangs = reason.printed, str(reason), reason.late
    answers = [json.loads(line) for line in printed.splitlines() if line.startswith(("{", '"', "null"))]
    if not answers:  # torch could not even be imported, or that takes for ever
        return CudaStart("", None, silence=silence or "no answer", hangs=hangs)
    torch: dict[str, Any] = answers[0]
    return CudaStart(
        version=torch["version"],
        cuda=torch["cuda"],
        codes=tuple(torch["codes"]),
        builds=None if torch["builds"] is None else tuple(torch["builds"]),
        error=None if silence else answers[1],
        silence=silence,
        hangs=hangs,
    )


def forget_that_it_works() -> None:
    """Have CUDA started anew on each GPU before it is used again: a sort has met trouble of a GPU or its driver."""
    _works_here.clear()
    with suppress(OSError):
        for marker in _markers().iterdir():
            marker.unlink(missing_ok=True)


def _marker(gpu: Gpu) -> Path:
    """A file that exists when CUDA started: for this boot, driver, torch and device."""
    boot = _BOOT_ID.read_text(encoding="ascii") if _BOOT_ID.exists() else ""
    key = "\n".join((boot, gpu.driver, torch_version_text() or "", gpu.uuid))
    return _markers() / hashlib.sha256(key.encode()).hexdigest()[:32]


def _markers() -> Path:
    return user_cache() / "cuda-works"


def _is_fresh(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime < _REMEMBERED_S
    except OSError:
        return False
