"""Where, how large and how often the units are that are injected: every donor elsewhere, over a range of amplitudes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from sort_assets.errors import InjectionError
from sort_assets.hybrid.donors import Donor, main_channel
from sort_assets.hybrid.moving import move_template, moves_exactly

SNR_RANGE = (3.0, 16.0)
"""From what no sorter finds to what each does (SpikeForest: accuracy rises from SNR 3 to 10; Magland et al., eLife 9
(2020) e55167, figure 4)."""
RATES_HZ = (1.0, 20.0)
"""Within which the donors' firing rates are taken over."""
FEWEST_SPIKES = 100
"""Of an injected unit, as far as `HIGHEST_RATE_HZ` allows: with 100, a recall of 0.9 is known to 0.03."""
HIGHEST_RATE_HZ = 50.0
_NEAR = 0.1
"""Part of the probe's length within which another depth is taken for the one that was wanted, if templates can be
copied there from contact to contact."""


@dataclass(frozen=True)
class InjectedUnit:
    """A unit that is injected.

    Attributes
    ----------
    unit_id : str
    donor : str
        The unit whose template it has.
    template_uv : np.ndarray
        As it is injected, in microvolts, shape (samples, channels).
    channel : int
        Position of the channel on which it is largest.
    depth_um : float
        Place of that channel along the probe.
    displacement_um : float
        How far along the probe from the donor.
    amplitude_uv : float
        Largest absolute value of the template.
    snr : float
        The same over the noise of that channel.
    firing_rate_hz : float
        Mean rate.
    """

    unit_id: str
    donor: str
    template_uv: np.ndarray
    channel: int
    depth_um: float
    displacement_um: float
    amplitude_uv: float
    snr: float
    firing_rate_hz: float

    def to_dict(self) -> dict[str, Any]:
        """All but the template, as plain values; ``InjectedUnit(**values, template_uv=...)`` makes it again."""
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name != "template_uv"}


def place_units(
    donors: Sequence[Donor],
    locations_um: np.ndarray,
    noise_uv: np.ndarray,
    *,
    num_units: int,
    duration_s: float,
    seed: int,
    snrs: Sequence[float] | None = None,
) -> list[InjectedUnit]:
    """Decide which units are injected.

    Their signal-to-noise ratios are spread evenly, as logarithms, over `SNR_RANGE`, and their depths over the length of
    the probe, independently of each other. Donors take turns; with a single one, all units have its shape.

    Parameters
    ----------
    donors : sequence of Donor
    locations_um : np.ndarray
        Where the channels are, shape (channels, 2): across and along the probe.
    noise_uv : np.ndarray
        Standard deviation of each channel's noise in microvolts, shape (channels,).
    num_units : int
    duration_s : float
        For how long they fire.
    seed : int
        Decides which donor goes where; the same for the same seed.
    snrs : sequence of float or None
        Other signal-to-noise ratios than those of `SNR_RANGE`, one for each unit; 0 injects nothing.

    Raises
    ------
    InjectionError
        When there are no donors, or a template can be moved nowhere.
    """
    if not donors:
        raise InjectionError(
            "There is no unit whose template could be injected.",
            remedy="Choose a recording of the rig with well-isolated units.",
        )
    rng = np.random.default_rng(seed)
    wanted_snrs = np.geomspace(*SNR_RANGE, num_units) if snrs is None else np.asarray(snrs, dtype=float)
    bottom, top = locations_um[:, 1].min(), locations_um[:, 1].max()
    depths = rng.permutation(bottom + (np.arange(num_units) + 0.5) / max(num_units, 1) * (top - bottom))
    turns = [donors[at % len(donors)] for at in rng.permutation(num_units)]
    units = []
    for number, (donor, wanted_um, snr) in enumerate(zip(turns, depths, wanted_snrs, strict=True)):
        displacement_um, moved = _move_near(donor, locations_um, float(wanted_um))
        channel = main_channel(moved)
        amplitude_uv = float(snr * noise_uv[channel])
        units.append(
            InjectedUnit(
                unit_id=f"injected-{number}",
                donor=donor.unit_id,
                template_uv=moved * np.float32(amplitude_uv / np.abs(moved).max()),
                channel=channel,
                depth_um=float(locations_um[channel, 1]),
                displacement_um=displacement_um,
                amplitude_uv=amplitude_uv,
                snr=float(snr),
                firing_rate_hz=_rate_hz(donor.firing_rate_hz, duration_s),
            )
        )
    return units


def _move_near(donor: Donor, locations_um: np.ndarray, wanted_um: float) -> tuple[float, np.ndarray]:
    """The template with its main channel near a depth, and how far it was moved.

    Not at the donor's own place, if there is another: there, its spikes could not be told from the donor's.
    """
    along = locations_um[:, 1]
    here_um = along[donor.channel]
    displacements = np.unique(along) - here_um
    away = displacements[displacements != 0]
    candidates = away if len(away) else displacements
    distance = np.abs(here_um + candidates - wanted_um)
    for displacement in candidates[np.argsort(distance, kind="stable")]:
        if abs(here_um + displacement - wanted_um) > max(distance.min(), _NEAR * np.ptp(along)):
            break
        if moves_exactly(locations_um, displacement):
            return float(displacement), move_template(donor.template_uv, locations_um, displacement)
    largest = np.abs(donor.template_uv).max()
    for displacement in candidates[np.argsort(distance, kind="stable")]:
        moved = move_template(donor.template_uv, locations_um, displacement)
        # Where hardly anything of it is left, scaling would enlarge what is no waveform.
        if np.abs(moved).max() > 0.25 * largest:
            return float(displacement), moved
    raise InjectionError(
        f"The template of unit {donor.unit_id} can't be moved along the probe: nothing of it is left on its contacts.",
        remedy="Check the contacts' positions in the probe file.",
    )


def _rate_hz(donors_hz: float, duration_s: float) -> float:
    """The donor's rate, within limits, and high enough for `FEWEST_SPIKES` in a short stretch."""
    usual = min(max(donors_hz, RATES_HZ[0]), RATES_HZ[1])
    return min(max(usual, FEWEST_SPIKES / duration_s), HIGHEST_RATE_HZ)
