"""What an analyzer holds beyond waveforms and templates: amplitudes, positions, correlograms, similarity.

Each may fail alone, and says why.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sort_assets.errors import SortAssetsError
from sort_assets.metrics.compiled import keep_compiled

if TYPE_CHECKING:
    from spikeinterface.core import SortingAnalyzer

FURTHER_EXTENSIONS = (
    "spike_amplitudes",
    "spike_locations",
    "unit_locations",
    "correlograms",
    "isi_histograms",
    "template_similarity",
)
"""In SpikeInterface's words."""

FAILURES_OF_THE_MACHINE = (MemoryError, OSError, SortAssetsError)
"""What is never the fault of one metric or extension alone, and so ends the whole computation."""

# SpikeInterface's node pipeline computes these in one pass over the recording, a chunk at a time.
_FROM_RECORDING = ("spike_amplitudes", "spike_locations")
_FROM_POSITIONS = ("spike_locations", "unit_locations")
# They are a cube of units x units x bins, 8 bytes each, in memory and on disk: 50 bins by default.
_CORRELOGRAM_BINS = 50
_MOST_CORRELOGRAM_BYTES = 2e9


def complete_analyzer(
    analyzer: SortingAnalyzer, *, job_kwargs: Mapping[str, Any], warn: Callable[[str], None] | None = None
) -> dict[str, str]:
    """Compute all further extensions that it lacks, in place: they are stored where the analyzer is.

    The recording is read at most once, in chunks, so that memory does not grow with its length.

    Parameters
    ----------
    analyzer : SortingAnalyzer
        With templates; in memory or in a folder.
    job_kwargs : Mapping[str, Any]
        How SpikeInterface shares work among workers.
    warn : callable or None
        Called with a sentence for each extension that failed.

    Returns
    -------
    dict of str to str
        Why those are missing that could not be computed, by name of the extension.

    Raises
    ------
    MemoryError, OSError, SortAssetsError
        Memory or disk gave out, or the recording can't be read.
    """
    from sort_assets.metrics.monopolar_triangulation import use_compiled_errors

    keep_compiled()
    use_compiled_errors()
    failed = {name: reason for name in FURTHER_EXTENSIONS if (reason := why_impossible(analyzer, name))}
    possible = [name for name in FURTHER_EXTENSIONS if name not in failed and not analyzer.has_extension(name)]
    one_pass = [name for name in possible if name in _FROM_RECORDING]
    if one_pass and _compute(analyzer, one_pass, job_kwargs) is None:
        possible = [name for name in possible if name not in one_pass]
    for name in possible:
        if reason := _compute(analyzer, [name], job_kwargs):
            failed[name] = reason
    if warn is not None:
        for name, reason in failed.items():
            warn(f"{name} could not be computed: {reason}")
    return failed


def why_impossible(analyzer: SortingAnalyzer, extension: str) -> str | None:
    """Why an extension can't be computed for this analyzer; None when nothing is known to prevent it."""
    if analyzer.get_num_units() == 0:
        return "There are no units."
    if len(analyzer.sorting.to_spike_vector()) == 0:
        return "There are no spikes."
    if extension in _FROM_RECORDING and not (analyzer.has_recording() or analyzer.has_temporary_recording()):
        return "The recording is gone."
    if extension in _FROM_POSITIONS and not has_positions(analyzer):
        return "The channels have no positions."
    needed = 8 * _CORRELOGRAM_BINS * analyzer.get_num_units() ** 2
    if extension == "correlograms" and needed > _MOST_CORRELOGRAM_BYTES:
        return f"Those of {analyzer.get_num_units():,} units would take {needed / 1e9:.1f} GB."
    return None


def why_missing(analyzer: SortingAnalyzer, extension: str) -> str:
    """Why something that needs an extension can't be computed from an analyzer that lacks it."""
    reason = why_impossible(analyzer, extension)
    return f"It needs {extension}, which could not be computed" + (f": {reason}" if reason else ".")


def has_positions(analyzer: SortingAnalyzer) -> bool:
    """Whether the analyzer knows where its channels are."""
    return analyzer.get_probegroup() is not None


def format_error(error: Exception) -> str:
    """An exception of a library as a reason: its class and message."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text}" if text else f"It stopped with {type(error).__name__}."


def _compute(analyzer: SortingAnalyzer, names: Sequence[str], job_kwargs: Mapping[str, Any]) -> str | None:
    """Compute extensions together; why that failed, if it did."""
    with warnings.catch_warnings():
        # Of units with few spikes: numpy's about means of nothing, and scipy's about fits that do not converge.
        warnings.simplefilter("ignore")
        try:
            analyzer.compute({name: {} for name in names}, **job_kwargs)
        except FAILURES_OF_THE_MACHINE:
            raise
        except Exception as error:
            return format_error(error)
    return None
