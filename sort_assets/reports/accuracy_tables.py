"""How well injected units were found, as tables of a report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from sort_assets.figures.accuracy import Interval, range_label
from sort_assets.hybrid.accuracy import AccuracyBin, Share, UnitAccuracy, by_amplitude, by_depth, by_snr
from sort_assets.reports.content import ReportTable

QUANTITIES = {
    "Signal-to-noise ratio": by_snr,
    "Amplitude (µV)": by_amplitude,
    "Depth along the probe (µm)": by_depth,
}
"""By which the units are put together, with the label that names it."""
_SOURCE = (
    "Each injected unit is paired with at most one found unit, so that the sum of agreements is largest; spikes match "
    "when they are within 0.4 ms. In brackets: 95 % intervals (Wilson's, each injected unit as one observation). Found "
    "well: with an accuracy of at least 0.8, the part that matching spikes are of all spikes of both."
)
_UNITS_NAMED = 60


def accuracy_tables(measured: Sequence[UnitAccuracy]) -> tuple[ReportTable, ...]:
    """A table for each of `QUANTITIES`, a row for each group of injected units."""
    return tuple(
        ReportTable(
            title=f"By {label[0].lower()}{label[1:]}",
            columns=(label, "Units injected", "Found well", "Recall", "Precision", "Accuracy"),
            rows=tuple(_row(one) for one in group(measured) if one.units),
            caption=_SOURCE if group is by_snr else "",
        )
        for label, group in QUANTITIES.items()
    )


def accuracy_groups(
    measured: Sequence[UnitAccuracy],
) -> dict[str, list[tuple[float, float, int, Interval, Interval]]]:
    """The same for `sort_assets.figures.draw_accuracy`."""
    return {
        label: [
            (one.low, one.high, one.units, _interval(one.recall), _interval(one.precision)) for one in group(measured)
        ]
        for label, group in QUANTITIES.items()
    }


def like_these_units(measured: Sequence[UnitAccuracy], snrs: Mapping[str, float], *, recordings: int) -> ReportTable:
    """Of the units of a recording, how well units like them are found on its rig.

    Parameters
    ----------
    measured : sequence of UnitAccuracy
        Units that were injected into recordings of the rig and sorted with the same settings.
    snrs : Mapping of str to float
        Signal-to-noise ratio of each unit of the recording; NaN where it is not known.
    recordings : int
        Into how many recordings they were injected.
    """
    rows = []
    for one in by_snr(measured):
        units = [unit for unit, snr in snrs.items() if math.isfinite(snr) and one.holds(snr)]
        if not units and not one.units:
            continue
        named = ", ".join(units[:_UNITS_NAMED]) + (
            f" and {len(units) - _UNITS_NAMED} more" * (len(units) > _UNITS_NAMED)
        )
        words = f"{one.words[0].upper()}{one.words[1:]}"
        rows.append((range_label(one.low, one.high), words, share_text(one.recall), str(one.units), named or "–"))
    return ReportTable(
        title="How well units like these are found",
        columns=("Signal-to-noise ratio", "On this rig", "Recall", "Units injected", "Units of this recording"),
        rows=tuple(rows),
        caption=(
            f"Known units were injected into {recordings} recording{'' if recordings == 1 else 's'} of this rig, and "
            f"sorted with the same settings. {_SOURCE}"
        ),
    )


def share_text(share: Share) -> str:
    """Such as "0.88 (0.71 to 0.96)"."""
    return "–" if math.isnan(share.value) else f"{share.value:.2f} ({share.low:.2f} to {share.high:.2f})"


def _row(one: AccuracyBin) -> tuple[str, ...]:
    shares = map(share_text, (one.recall, one.precision, one.accuracy))
    return (range_label(one.low, one.high), str(one.units), f"{one.found_well} of {one.units}", *shares)


def _interval(share: Share) -> Interval:
    return share.value, share.low, share.high
