"""The band-pass for arithmetic in float32, and the interpolation that moves channels by parts of a sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK_SAMPLES = 8192
"""Samples of a channel that are filtered as one piece, with a margin before and after it."""
FEWEST_SAMPLES = 33
"""A piece must have more: scipy's `padlen` for the five sections of the band-pass."""
SHIFT_TAPS = 32
"""Samples from which one between two samples is interpolated."""
LOWEST_HZ = 100.0
"""Below it, SpikeInterface refuses a band-pass that is computed in pieces, and float32 would not do."""
_ORDER = 5
_PERIODS_OF_MARGIN = 5
_KAISER_BETA = 9.0


@dataclass(frozen=True)
class BandPassDesign:
    """A Butterworth band-pass of order 5 for arithmetic in float32.

    Its ten poles are five pairs: the two lowest are high-passes, the middle one is a band-pass, the two highest are
    low-passes. Poles near a frequency of zero lose their place in a polynomial's float32 coefficients; as state
    variable filters (H. Chamberlin, Musical Applications of Microprocessors, 1985) they keep it.

    Attributes
    ----------
    sections : tuple of float
        Step and damping of the high-passes and of the band-pass, then the two denominator coefficients of each
        low-pass.
    gain : float
        By which one pass over the signal has to be multiplied.
    """

    sections: tuple[float, ...]
    gain: float


def design_band_pass(sampling_frequency: float, freq_min: float, freq_max: float) -> BandPassDesign:
    """Design the band-pass.

    Parameters
    ----------
    sampling_frequency, freq_min, freq_max : float
        In Hz; the edges between 0 and half the sampling rate.
    """
    from scipy.signal import butter

    _, poles, gain = butter(_ORDER, [freq_min, freq_max], fs=sampling_frequency, btype="bandpass", output="zpk")
    upper = poles[poles.imag > 0]
    pairs = [(-2 * pole.real, abs(pole) ** 2) for pole in upper[np.argsort(np.angle(upper))]]
    real = poles[poles.imag == 0].real
    if len(real):  # A wide band: the middle pair is two poles on the real axis.
        pairs.insert(2, (-real.sum(), real.prod()))
    state_variable = [(1 + a1 + a2, (1 - a2) / (1 + a1 + a2)) for a1, a2 in pairs[:3]]
    sections = tuple(float(number) for pair in (*state_variable, *pairs[3:]) for number in pair)
    return BandPassDesign(sections, float(gain / state_variable[2][0]))


def margin_samples(sampling_frequency: float, freq_min: float) -> int:
    """Samples that are filtered before and after a piece and thrown away: SpikeInterface's five periods."""
    return int(_PERIODS_OF_MARGIN * (1000.0 / freq_min) * sampling_frequency / 1000.0)


def is_supported(sampling_frequency: float, freq_min: float, freq_max: float) -> bool:
    """Whether float32 and blocks do for a band: SpikeInterface's own band-pass takes the others."""
    margin = margin_samples(sampling_frequency, freq_min)
    return LOWEST_HZ <= freq_min < freq_max < sampling_frequency / 2 and FEWEST_SAMPLES < margin <= BLOCK_SAMPLES


def can_shift(sample_shifts: NDArray[Any], sampling_frequency: float, freq_max: float) -> bool:
    """Whether channels can be moved by parts of a sample, in the same pass.

    Parameters
    ----------
    sample_shifts : np.ndarray
        In samples, by channel.
    sampling_frequency, freq_max : float
        In Hz. What a band-pass leaves above 0.4 times the sampling rate is not interpolated well.
    """
    return bool(np.all((sample_shifts >= 0) & (sample_shifts < 1))) and freq_max <= sampling_frequency / 4


def shift_taps(sample_shifts: NDArray[Any]) -> NDArray[np.float32]:
    """Weights of the samples around a moment that lies a part of a sample before one of them.

    Parameters
    ----------
    sample_shifts : np.ndarray
        In samples, between 0 and 1, by channel.

    Returns
    -------
    np.ndarray
        Shape (taps, channels): a sinc with Kaiser's window, whose errors are below 1e-5 up to 0.4 times the sampling
        rate.
    """
    half = SHIFT_TAPS // 2
    places = np.arange(-half, half)[:, np.newaxis] + np.asarray(sample_shifts, dtype=np.float64)
    window = np.i0(_KAISER_BETA * np.sqrt(np.clip(1 - (places / half) ** 2, 0, None))) / np.i0(_KAISER_BETA)
    return (np.sinc(places) * window).astype(np.float32)
