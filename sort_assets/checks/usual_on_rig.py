"""Yield, noise, drift and units found again against what is usual on the same rig."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median as median_of

from sort_assets.checks.result import CheckResult, counted

FEWEST_RECORDINGS = 5
"""Before something can be called usual."""
MAX_DEVIATIONS = 3.0
"""Robust standard deviations from the median: "very conservative" in Leys et al., J. Exp. Soc. Psychol. 49 (2013)."""
PLAUSIBLE_NOISE_UV = (1.0, 50.0)
"""Median over channels after the band-pass, in microvolts.

Less than half of what a quiet amplifier makes with its inputs shorted (Intan RHD2000 and RHS2116 data sheets: 2.4 µV
rms) is a wrong gain or a dead input. With more than 50 µV, a unit needs 250 µV to reach the SNR of 5 that curation asks
for: few have that.
"""
_MAD_TO_SD = 1.4826
_NOISE_SPREAD = 0.1
"""Of the median noise: what is taken as its standard deviation at least, so that few equal recordings call no small
change unusual."""
_DRIFT_SPREAD, _LEAST_DRIFT_SPREAD_UM = 0.25, 1.0
"""Of the median drift, and in micrometres: the same for drift, which is estimated from few units."""

_SHARE_SPREAD = 0.02
"""The same for the share of units that are found again."""


@dataclass(frozen=True)
class Usual:
    """What is usual on a rig.

    Attributes
    ----------
    median, deviation : float
        The deviation is a robust standard deviation.
    number : int
        How many values say so.
    """

    median: float
    deviation: float
    number: int

    @property
    def range(self) -> tuple[float, float]:
        """Between which values nothing is unusual."""
        reach = MAX_DEVIATIONS * self.deviation
        return max(self.median - reach, 0.0), self.median + reach


def yield_as_usual(num_units: int, history: Sequence[int]) -> CheckResult:
    """Whether there are about as many units as usual on this rig.

    More than usual is a warning too: noise and oversplitting make units. The deviation is taken to be at least that of
    counting (the square root of the median), and at least one unit.

    Parameters
    ----------
    num_units : int
        Of this recording.
    history : sequence of int
        Numbers of units of other recordings of the same rig and sorter.
    """
    name = "yield_as_usual"
    values: dict[str, float | int | str] = {"units": num_units, "recordings_in_history": len(history)}
    usual = usual_values(history, lambda median: max(median**0.5, 1.0))
    if usual is None:
        return CheckResult(name, True, "warn", f"{counted(num_units, 'unit')}. {too_short(history)}", values)
    low, high = usual.range
    values |= {"usual_units": usual.median, "usual_from": low, "usual_to": high}
    seen = (
        f"{counted(num_units, 'unit')}; usual on this rig are {usual.median:g} ({low:.0f} to {high:.0f}, from "
        f"{usual.number} recordings)"
    )
    if low <= num_units <= high:
        return CheckResult(name, True, "warn", f"{seen}.", values)
    remedy = (
        "Look at the noise, the bad channels and the raster: the probe may be out of place, or disconnected."
        if num_units < low
        else "Look at the units' waveforms and similarity: noise or artefacts may be sorted as units, or units split."
    )
    few = "fewer" if num_units < low else "more"
    return CheckResult(name, False, "warn", f"{seen}: {few} than usual. {remedy}", values)


def noise_level(noise_uv: Iterable[float], history: Sequence[float]) -> CheckResult:
    """Whether the noise is plausible, and as usual on this rig.

    Parameters
    ----------
    noise_uv : iterable of float
        Noise of each channel in microvolts, shape (channels,); NaN where it is not known.
    history : sequence of float
        Medians over channels of other recordings of the same rig.
    """
    name = "noise_level"
    known = _finite(noise_uv)
    if not known:
        return CheckResult(name, True, "warn", "The noise of no channel is known: nothing to check.", {"channels": 0})
    median = median_of(known)
    lowest, highest = PLAUSIBLE_NOISE_UV
    values: dict[str, float | int | str] = {
        "channels": len(known),
        "median_noise_uv": median,
        "quietest_channel_uv": min(known),
        "loudest_channel_uv": max(known),
        "implausible_channels": sum(not lowest <= value <= highest for value in known),
        "recordings_in_history": len(history),
    }
    seen = f"The median noise of {counted(len(known), 'channel')} is {median:.3g} µV"
    if not lowest <= median <= highest:
        remedy = (
            "Look at the gain of the recording, and whether the probe was connected."
            if median < lowest
            else "Look at the gain of the recording, at ground and reference, and at mains hum in the traces."
        )
        words = f"{seen}, outside of the plausible {lowest:g} to {highest:g} µV. {remedy}"
        return CheckResult(name, False, "warn", words, values)
    usual = usual_values(history, lambda middle: _NOISE_SPREAD * middle)
    if usual is None:
        return CheckResult(name, True, "warn", f"{seen}, which is plausible. {too_short(history)}", values)
    low, high = usual.range
    values |= {"usual_noise_uv": usual.median, "usual_from_uv": low, "usual_to_uv": high}
    seen = (
        f"{seen}; usual on this rig are {usual.median:.3g} µV ({low:.3g} to {high:.3g}, from {usual.number} recordings)"
    )
    if low <= median <= high:
        return CheckResult(name, True, "warn", f"{seen}.", values)
    remedy = (
        "Quieter than usual: look at the gain, and whether channels are disconnected or shorted."
        if median < low
        else "Louder than usual: look at ground and reference, cables and nearby devices, and the age of the probe."
    )
    return CheckResult(name, False, "warn", f"{seen}. {remedy}", values)


def drift_as_usual(drift_um: Iterable[float], history: Sequence[float]) -> CheckResult:
    """Whether the units drift no more than usual on this rig; less is no warning.

    Parameters
    ----------
    drift_um : iterable of float
        Drift of each unit in micrometres, shape (units,); NaN where it is not known.
    history : sequence of float
        Medians over units of other recordings of the same rig.
    """
    name = "drift_as_usual"
    known = _finite(drift_um)
    if not known:
        return CheckResult(name, True, "warn", "The drift of no unit is known: nothing to check.", {"units": 0})
    median = median_of(known)
    values: dict[str, float | int | str] = {
        "units": len(known),
        "median_drift_um": median,
        "recordings_in_history": len(history),
    }
    seen = f"The median drift of {counted(len(known), 'unit')} is {median:.3g} µm"
    usual = usual_values(history, lambda middle: max(_DRIFT_SPREAD * middle, _LEAST_DRIFT_SPREAD_UM))
    if usual is None:
        return CheckResult(name, True, "warn", f"{seen}. {too_short(history)}", values)
    high = usual.range[1]
    values |= {"usual_drift_um": usual.median, "usual_to_um": high}
    seen = f"{seen}; usual on this rig are {usual.median:.3g} µm (up to {high:.3g}, from {usual.number} recordings)"
    if median <= high:
        return CheckResult(name, True, "warn", f"{seen}.", values)
    remedy = "Look at the drift map, at how the probe is held, and at how long it rested after it was moved."
    return CheckResult(name, False, "warn", f"{seen}: more than usual. {remedy}", values)


def as_before(
    persisting: int, units: int, history: Sequence[float], least_share: float | None = None, *, of: str = "units"
) -> CheckResult:
    """Whether as many of the earlier sorting's units are still there as was asked for, or as is usual on this rig.

    The deviation is taken to be at least that of counting so many units, and at least two of a hundred.

    Parameters
    ----------
    persisting, units : int
        Units of the earlier sorting that are still there, and all of them.
    history : sequence of float
        The same share in comparisons of other recordings of the same rig.
    least_share : float or None
        Share that was asked for; None compares with the rig.
    of : str
        What the units are, such as "units that curation had kept".
    """
    name = "as_before"
    if units == 0:
        return CheckResult(name, True, "warn", f"There were no {of} before: nothing to check.", {"units_before": 0})
    share = persisting / units
    values: dict[str, float | int | str] = {"units_before": units, "persisting": persisting, "share": share}
    seen = f"{persisting} of {units:,} {of} are still there ({share:.0%})"
    remedy = (
        "Look at the page of the comparison: what was lost, split or merged, and whether settings, versions or the "
        "recording's preprocessing differ."
    )
    if least_share is not None:
        values["least_share"] = least_share
        passed = share >= least_share
        words = f"{seen}; asked for are {least_share:.0%}.{'' if passed else ' ' + remedy}"
        return CheckResult(name, passed, "warn", words, values)
    values["recordings_in_history"] = len(history)
    usual = usual_values(history, lambda median: max((median * (1 - median) / units) ** 0.5, 1 / units, _SHARE_SPREAD))
    if usual is None:
        return CheckResult(name, True, "warn", f"{seen}. {too_short(history)}", values)
    low = usual.range[0]
    values |= {"usual_share": usual.median, "usual_from": low}
    seen = f"{seen}; usual on this rig are {usual.median:.0%} (at least {low:.0%}, from {usual.number} recordings)"
    if share >= low:
        return CheckResult(name, True, "warn", f"{seen}.", values)
    return CheckResult(name, False, "warn", f"{seen}: fewer than usual. {remedy}", values)


def usual_values(history: Sequence[float], least_deviation: Callable[[float], float]) -> Usual | None:
    """Median, and deviation by the median absolute one; None when the history is too short."""
    values = _finite(history)
    if len(values) < FEWEST_RECORDINGS:
        return None
    median = median_of(values)
    deviation = _MAD_TO_SD * median_of(abs(value - median) for value in values)
    return Usual(median, max(deviation, least_deviation(median)), len(values))


def too_short(history: Sequence[float], of_what: str = "recording") -> str:
    """That a history is too short, as a sentence."""
    return (
        f"The history of this rig is too short to say what is usual: {counted(len(history), of_what)} of at least "
        f"{FEWEST_RECORDINGS}."
    )


def _finite(values: Iterable[float]) -> list[float]:
    return [float(value) for value in values if math.isfinite(value)]
