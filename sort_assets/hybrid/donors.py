"""Donors: the well-isolated units of a recording, whose templates are injected elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sort_assets.errors import InjectionError

CRITERIA: dict[str, tuple[float | None, float | None]] = {
    "snr": (5.0, None),
    "num_spikes": (100, None),
    "isi_violations_percent": (None, 0.5),
    "presence_ratio": (0.9, None),
}
"""Least and largest value of a donor's metrics. 5 is the signal-to-noise ratio that curation asks for; the others are
those of the Allen Institute's Neuropixels datasets, with violating intervals in place of the violation rate. The
average of 100 waveforms has a tenth of the noise of one."""
TAPERED = 0.1
"""Part of a template, at its beginning and at its end, that is brought smoothly to zero: an average that does not end
at zero would put a step around every spike."""


@dataclass(frozen=True)
class Donor:
    """A unit whose template is injected elsewhere.

    Attributes
    ----------
    unit_id : str
    template_uv : np.ndarray
        In microvolts, shape (samples, channels), for all channels of the recording; zero at both ends.
    channel : int
        Position of the channel on which it is largest.
    firing_rate_hz : float
    """

    unit_id: str
    template_uv: np.ndarray
    channel: int
    firing_rate_hz: float


def choose_donors(templates_uv: np.ndarray, metrics: pd.DataFrame, *, at_most: int = 10) -> list[Donor]:
    """The best isolated units of a recording, those with the largest signal-to-noise ratio first.

    Parameters
    ----------
    templates_uv : np.ndarray
        Average waveforms in microvolts, shape (units, samples, channels), zero where a unit was not cut out.
    metrics : pd.DataFrame
        One row for each unit in the same order, index unit id, with `firing_rate` and the metrics of `CRITERIA`. A
        metric that is not known excludes nobody, except for the signal-to-noise ratio.
    at_most : int

    Raises
    ------
    InjectionError
        When the recording has no units, or none is isolated well enough; says what excluded them.
    """
    if not len(metrics):
        raise InjectionError(
            "The recording has no units, so that none can be injected into it.",
            remedy="Choose a recording in which the sorter found units.",
        )
    good, reasons = pd.Series(metrics["snr"].notna().to_numpy(bool), index=metrics.index), []
    for name, (least, most) in CRITERIA.items():
        values = metrics[name].astype(float) if name in metrics else pd.Series(np.nan, index=metrics.index)
        fails = values < least if least is not None else pd.Series(False, index=values.index)
        fails |= values > most if most is not None else False
        good &= ~fails
        asked = f"at least {least:g}" if least is not None else f"at most {most:g}"
        reasons.append(f"{int((~fails & values.notna()).sum())} have {name} of {asked}")
    order = metrics["snr"].astype(float)[good].sort_values(ascending=False, kind="stable").index[:at_most]
    if not len(order):
        raise InjectionError(
            f"None of the recording's {len(metrics)} units is isolated well enough to be injected elsewhere: "
            f"{', '.join(reasons)}.",
            remedy="Choose a recording of the rig with better isolated units, or a longer one.",
        )
    window = _taper(templates_uv.shape[1])[:, np.newaxis]
    donors = []
    for at in metrics.index.get_indexer(order).tolist():
        template = np.asarray(templates_uv[at] * window, dtype=np.float32)
        rate_hz = float(metrics["firing_rate"].iloc[at])
        donors.append(Donor(str(metrics.index[at]), template, main_channel(template), rate_hz))
    return donors


def main_channel(template_uv: np.ndarray) -> int:
    """Position of the channel on which a template, shape (samples, channels), is largest."""
    return int(np.abs(template_uv).max(axis=0).argmax())


def _taper(samples: int) -> np.ndarray:
    """A window that is 1 except at both ends, where it falls to 0 as a raised cosine (Tukey's window)."""
    length = max(1, round(TAPERED * samples))
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(length) / length)
    window = np.ones(samples)
    window[:length], window[-length:] = ramp, ramp[::-1]
    return window
