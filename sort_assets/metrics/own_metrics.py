"""What SpikeInterface 0.105.3 does not compute: primary channel, amplitude and deviation at the peak, position."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sort_assets.metrics.extensions import why_missing

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from spikeinterface.core import SortingAnalyzer

_POSITIONS = ("x_um", "y_um", "z_um")


class NotPossibleError(Exception):
    """Something that a metric needs is not there; the message says what."""


def primary_channels(analyzer: SortingAnalyzer) -> dict[str, np.ndarray]:
    """The channel of each unit with its largest amplitude, as text.

    Returns
    -------
    dict
        Of "primary_channel", shape (units,).
    """
    return {"primary_channel": analyzer.get_main_channels(outputs="id").astype(str)}


def amplitudes_uv(analyzer: SortingAnalyzer) -> dict[str, np.ndarray]:
    """Absolute average waveform at its peak, on the primary channel, in microvolts; shape (units,)."""
    import numpy as np

    if not analyzer.return_in_uV:
        raise NotPossibleError("The recording has no gains, so that its microvolts are not known.")
    average = _on_primary_channel(analyzer, "average")
    return {"amplitude_uv": np.abs(average).max(axis=1)}


def waveform_deviations(analyzer: SortingAnalyzer) -> dict[str, np.ndarray]:
    """Standard deviation of the waveforms at the peak of the primary channel, over the absolute average there.

    The waveforms are the analyzer's random choice. One waveform alone does not deviate: such units have no value.
    """
    import numpy as np

    average, deviation = (_on_primary_channel(analyzer, operator) for operator in ("average", "std"))
    units = np.arange(len(average))
    peaks = np.abs(average).argmax(axis=1)
    amplitudes = np.abs(average[units, peaks])
    several = analyzer.sorting.count_num_spikes_per_unit(outputs="array") > 1
    values = np.full(len(average), np.nan)
    np.divide(deviation[units, peaks], amplitudes, out=values, where=several & (amplitudes > 0))
    return {"waveform_deviation": values}


def positions_um(analyzer: SortingAnalyzer) -> dict[str, np.ndarray]:
    """Estimated positions of the units, each shape (units,); z is known to methods that estimate it."""
    import numpy as np

    locations = analyzer.get_extension("unit_locations")
    if locations is None:
        raise NotPossibleError(why_missing(analyzer, "unit_locations"))
    values = np.asarray(locations.get_data(), dtype=float)
    return {name: values[:, axis] for axis, name in enumerate(_POSITIONS) if axis < values.shape[1]}


OWN_METRICS: dict[str, Callable[[SortingAnalyzer], dict[str, np.ndarray]]] = {
    "primary_channel": primary_channels,
    "amplitude_uv": amplitudes_uv,
    "waveform_deviation": waveform_deviations,
    "unit_location": positions_um,
}
"""By the name under which a failure is reported."""


def isi_violations_percent(table: pd.DataFrame) -> pd.Series:
    """Violations per interval between spikes, in percent; missing where there is no interval."""
    intervals = (table["num_spikes"] - 1).astype("float64")
    return 100 * table["isi_violations_count"].astype("float64") / intervals.where(intervals > 0)


def _on_primary_channel(analyzer: SortingAnalyzer, operator: str) -> np.ndarray:
    """Shape (units, samples)."""
    import numpy as np

    templates = analyzer.get_extension("templates")
    if templates is None:
        raise NotPossibleError(why_missing(analyzer, "templates"))
    if operator not in templates.data and not analyzer.has_extension("waveforms"):
        raise NotPossibleError(f"The templates were stored without their {operator}, and the waveforms are gone.")
    channels = analyzer.get_main_channels(outputs="index")
    values = templates.get_templates(operator=operator, save=False)
    return np.asarray(values[np.arange(len(channels)), :, channels], dtype=float)
