"""Kilosort does not ask NVIDIA's library how busy the GPU is: that would end the sort where the library can't answer.

Up to 4.1.7, `kilosort.utils.get_performance` asks once a stage, for its log, wherever the package `pynvml` is
installed, and nothing catches what is raised: on a MIG slice always, after an update of the driver or in a container
that lost its right to the library also in the middle of a sort of hours, although CUDA goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_gpu_utilisation() -> Iterator[None]:
    """Let Kilosort take the library for not installed, in this process and while it sorts."""
    from kilosort import utils

    before = getattr(utils, "_NVML_EXISTS", None)
    if before is None:  # another version, which may well catch it
        yield
        return
    utils._NVML_EXISTS = False
    try:
        yield
    finally:
        utils._NVML_EXISTS = before
