"""Machine code that outlives the process: what SpikeInterface compiles with numba is kept on disk.

SpikeInterface 0.105.3 compiles its loops anew in every process, and every step of a run is a process. Measured on 8
units, 10 s and one core: template similarity 12 s, quality metrics 8 s; from the second process on 0.03 s and 0.7 s.
"""

import functools
import importlib

from sort_assets.machine.machine_code import keep

_MODULES = (
    "spikeinterface.postprocessing.isi",
    "spikeinterface.postprocessing.template_similarity",
    "spikeinterface.metrics.quality.misc_metrics",
    "spikeinterface.curation.curation_tools",
    "spikeinterface.curation.auto_merge",
)

# What makes spike trains of a spike vector, in every step: SpikeInterface makes these at their first use.
_MADE_BY = ("get_numba_vector_to_list_of_spiketrain", "get_numba_reorder_spike_vector")


@functools.cache
def keep_compiled() -> int:
    """Let numba keep what it compiles of SpikeInterface: spike trains, metrics, template similarity and curation.

    `machine_code` says where. Call it before the first use; later calls do nothing.

    Returns
    -------
    int
        How many functions are kept: 0 where no folder can be written.
    """
    from numba.core.dispatcher import Dispatcher

    found: dict[int, Dispatcher] = {}
    for name in _MODULES:
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError:  # Another version of SpikeInterface may have moved it.
            continue
        found |= {id(each): each for each in vars(module).values() if isinstance(each, Dispatcher)}
    _replace_correlograms()
    return keep_spike_trains_compiled() + sum(keep(function) for function in found.values())


@functools.cache
def keep_spike_trains_compiled() -> int:
    """The part of `keep_compiled` that every step needs which reads units: what makes spike trains; 2 s of a core.

    Returns
    -------
    int
        How many functions are kept.
    """
    from spikeinterface.core import sorting_tools

    made = [getattr(sorting_tools, name)() for name in _MADE_BY if hasattr(sorting_tools, name)]
    return sum(keep(function) for function in made)


def _replace_correlograms() -> None:
    """Put a loop in the place of SpikeInterface's that numba can't keep, since it sets a number of threads."""
    from spikeinterface.postprocessing import correlograms

    from sort_assets.metrics.spike_kernels import count_lags

    name = "_compute_correlograms_one_segment_numba"
    if hasattr(correlograms, name):
        setattr(correlograms, name, count_lags)
