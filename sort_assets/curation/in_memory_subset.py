"""An analyzer of some units without their waveforms.

What decides on duplicates and merges reads spike trains, templates and what follows from them. SpikeInterface writes
into what it reads there (0.105.3: `compute_merge_unit_groups` empties the middle of the correlograms, and replaces the
template similarity), and copying whole analyzers copies their waveforms, gigabytes of 500 units.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sort_assets.curation.history import UnitId

if TYPE_CHECKING:
    from spikeinterface.core import SortingAnalyzer

_COPIED = ("templates", "unit_locations", "template_similarity")


def in_memory_subset(
    analyzer: SortingAnalyzer, unit_ids: Sequence[UnitId], extensions: Sequence[str] = _COPIED
) -> SortingAnalyzer:
    """Copy an analyzer of some units, with some of what was computed of them.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    unit_ids : sequence
        Units of the copy.
    extensions : sequence of str
        What is copied, where the analyzer has it.

    Returns
    -------
    SortingAnalyzer
        In memory; nothing that is written into it reaches `analyzer`.
    """
    from spikeinterface.core import ChannelSparsity, NumpySorting, SortingAnalyzer

    sparsity = None
    if analyzer.sparsity is not None:
        mask = analyzer.sparsity.mask[analyzer.sorting.ids_to_indices(unit_ids)].copy()
        sparsity = ChannelSparsity(mask, list(unit_ids), analyzer.channel_ids)
    copy = SortingAnalyzer(
        sorting=NumpySorting.from_sorting(analyzer.sorting.select_units(unit_ids), with_metadata=True),
        # It names the main channels; nothing is read from it.
        recording=analyzer.recording if analyzer.has_recording() else None,
        rec_attributes=analyzer.rec_attributes,
        format="memory",
        sparsity=sparsity,
        return_in_uV=analyzer.return_in_uV,
        peak_sign=analyzer.peak_sign,
        peak_mode=analyzer.peak_mode,
    )
    for name in extensions:
        extension = analyzer.get_extension(name)
        if extension is not None:
            copy.extensions[name] = extension.copy(copy, unit_ids=list(unit_ids))
    if copy.has_extension("templates"):
        with warnings.catch_warnings():
            # Without a recording SpikeInterface 0.105.3 takes the analyzer for an old one, and looks in the templates.
            warnings.filterwarnings("ignore", message="This sorting analyzer is from an an older version")
            _ = copy.main_channel_indices
    return copy
