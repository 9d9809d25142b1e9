"""What every format of the delivery is given: the units, their spikes, waveforms and electrodes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from sort_assets.config import WaveformConfig
from sort_assets.config.units import DeliveryConfig
from sort_assets.curation.decisions import DECISIONS
from sort_assets.errors import DamagedArtefactError
from sort_assets.metrics.columns import UNIT_METRICS, Column
from sort_assets.recordings.clock import START_AND_RATE, Clock
from sort_assets.recordings.joins import at_join
from sort_assets.recordings.opening import Boundary

if TYPE_CHECKING:
    import pandas as pd
    from probeinterface import Probe
    from spikeinterface.core import SortingAnalyzer

KEPT = "kept"
"""The column of the decisions that says whether a unit passed curation."""


@dataclass(frozen=True)
class ProbeFacts:
    """What is known of a probe; None is not known."""

    name: str
    manufacturer: str | None = None
    model: str | None = None
    serial_number: str | None = None


@dataclass(frozen=True, eq=False)
class Electrodes:
    """The channels of the recording.

    Attributes
    ----------
    channel_ids : np.ndarray
        In the recording's order.
    positions_um : np.ndarray or None
        Shape (channels, 2 or 3), in micrometres; None when not known.
    groups : np.ndarray
        Shank or tetrode of each channel, as text; "0" for all where there are none.
    brain_areas : np.ndarray or None
        Where in the brain each channel is, as text; None when the recording does not say.
    probes : tuple of ProbeFacts
        At least one.
    probe_index : np.ndarray
        Which of the probes each channel is on.
    """

    channel_ids: np.ndarray
    positions_um: np.ndarray | None
    groups: np.ndarray
    brain_areas: np.ndarray | None
    probes: tuple[ProbeFacts, ...]
    probe_index: np.ndarray


@dataclass(frozen=True, eq=False)
class Waveforms:
    """Average waveform of each unit, and how much single ones differ from it.

    Attributes
    ----------
    average_uv, deviation_uv : np.ndarray
        Shape (units, samples, channels), in microvolts; 0 on channels that are none of the unit's.
    num_before : int
        Samples before the spike's own sample.
    """

    average_uv: np.ndarray
    deviation_uv: np.ndarray
    num_before: int


@dataclass(frozen=True, eq=False)
class DeliveredUnits:
    """Units of one recording, or of one file of it.

    Attributes
    ----------
    name : str
        Of the recording, or of the file.
    unit_ids : np.ndarray
        As in the sorting: numbers or text.
    spike_samples : tuple of np.ndarray
        Spike train of each unit, in samples from 0, ascending; int64.
    spike_at_join : tuple of np.ndarray
        Of each unit, whether the waveform of a spike reaches over a gap or into another file; bool.
    sampling_frequency : float
        Samples per second.
    num_samples : int
        Length of the recording, or of the file.
    clock : Clock
        The time of each sample.
    table : pd.DataFrame
        Metrics and decisions, of the whole recording; index `unit_id`, as text.
    columns : dict of str to Column
        What the columns of the table are, by name; of those that are declared.
    missing_parts : tuple of str
        What the whole recording lacks, in sentences; empty where it is whole.
    clock_doubts : tuple of str
        What is doubtful about the times of the whole recording, in sentences.
    missed_groups : tuple of str
        Of each group of channels whose spikes the sorter missed, what happened.
    channels : np.ndarray
        Shape (units, channels): whether a channel is one of the unit's.
    electrodes : Electrodes
    waveforms : Waveforms or None
        None when not wanted, or not there.
    """

    name: str
    unit_ids: np.ndarray
    spike_samples: tuple[np.ndarray, ...]
    spike_at_join: tuple[np.ndarray, ...]
    sampling_frequency: float
    num_samples: int
    clock: Clock
    table: pd.DataFrame
    channels: np.ndarray
    electrodes: Electrodes
    waveforms: Waveforms | None
    columns: dict[str, Column] = field(default_factory=dict)
    missing_parts: tuple[str, ...] = ()
    clock_doubts: tuple[str, ...] = ()
    missed_groups: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.unit_ids)

    @property
    def start_time_s(self) -> float:
        """Time of sample 0."""
        return self.clock.start_time_s

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.num_samples / self.sampling_frequency

    @property
    def num_spikes(self) -> int:
        """Of all units together."""
        return sum(len(train) for train in self.spike_samples)

    @property
    def num_at_joins(self) -> int:
        """Spikes at joins, of all units together."""
        return sum(int(marks.sum()) for marks in self.spike_at_join)

    @property
    def ids_are_numbers(self) -> bool:
        """Whether unit ids are whole numbers, not text."""
        return bool(np.issubdtype(self.unit_ids.dtype, np.integer))

    @cached_property
    def spike_times_s(self) -> tuple[np.ndarray, ...]:
        """Spike train of each unit in seconds."""
        return tuple(self.clock.times_s(train) for train in self.spike_samples)

    def describe(self, column: str) -> str:
        """What a column of the table holds, in a sentence, with its unit."""
        declared = self.columns.get(column)
        if declared is not None:
            return f"{declared.description} In {declared.unit}." if declared.unit else declared.description
        criterion = column.removesuffix("_ok")
        if criterion != column and criterion in self.table.columns:
            return f"Whether {criterion} passes the criterion of curation."
        return f"{column.replace('_', ' ').capitalize()} of the unit."


def delivered_units(
    analyzer: SortingAnalyzer,
    table: pd.DataFrame,
    config: DeliveryConfig,
    *,
    clock: Clock,
    waveform: WaveformConfig | None = None,
    missing_parts: tuple[str, ...] = (),
    clock_doubts: tuple[str, ...] = (),
    missed_groups: tuple[str, ...] = (),
    name: str = "recording",
    columns: Iterable[Column] = (*UNIT_METRICS, *DECISIONS),
) -> DeliveredUnits:
    """What is delivered of the units of a recording.

    Parameters
    ----------
    analyzer : SortingAnalyzer
        The curated units, single segment, with the extension templates if waveforms are to be delivered.
    table : pd.DataFrame
        Metrics and decisions of each of its units; index `unit_id`, as text. Without the column `kept`, or where that
        is missing, a unit counts as kept.
    config : DeliveryConfig
        Whether rejected units and waveforms are delivered.
    clock : Clock
        The recording's own.
    waveform : WaveformConfig
        How long waveforms are, which decides which spikes are at joins; None is the default.
    missing_parts : tuple of str
        What the recording lacks, in sentences.
    clock_doubts : tuple of str
        What is doubtful about its times, in sentences.
    missed_groups : tuple of str
        Of each group of channels whose spikes the sorter missed, what happened.
    name : str
        Of the recording; the files are named so.
    columns : iterable of Column
        Declarations of the table's columns, for descriptions.

    Raises
    ------
    DamagedArtefactError
        When the table lacks a unit.
    """
    texts = [str(unit_id) for unit_id in analyzer.unit_ids]
    lacking = [text for text in texts if text not in table.index]
    if lacking:
        raise DamagedArtefactError(
            f"The table of metrics and decisions lacks {len(lacking)} of {len(texts)} units: "
            f"{', '.join(lacking[:10])}.",
            remedy="Materialize unit_metrics and curated_units again, and then the delivery.",
            units_lacking=len(lacking),
        )
    table = table.loc[texts]
    if KEPT in table.columns and not config.include_failed_units:
        table = table[table[KEPT].astype("boolean").fillna(True).to_numpy(dtype=bool)]
    chosen = np.isin(texts, table.index)
    unit_ids = np.asarray(analyzer.unit_ids)[chosen]
    rate_hz = float(analyzer.sampling_frequency)
    trains = tuple(np.asarray(analyzer.sorting.get_unit_spike_train(unit_id), dtype="int64") for unit_id in unit_ids)
    before, after = (waveform or WaveformConfig()).samples(rate_hz)
    return DeliveredUnits(
        name=name,
        unit_ids=unit_ids,
        spike_samples=trains,
        spike_at_join=tuple(at_join(train, clock.joins, before, after) for train in trains),
        sampling_frequency=rate_hz,
        num_samples=int(analyzer.get_total_samples()),
        clock=clock,
        table=table,
        columns={column.name: column for column in columns},
        missing_parts=missing_parts,
        clock_doubts=clock_doubts,
        missed_groups=missed_groups,
        channels=_channels(analyzer)[chosen],
        electrodes=_electrodes(analyzer),
        waveforms=_waveforms(analyzer, unit_ids) if config.waveforms else None,
    )


def split_by_file(units: DeliveredUnits, files: Sequence[Boundary]) -> list[DeliveredUnits]:
    """The units of each file of a concatenated recording, with samples from zero and times on the file's own clock.

    Every file has all units, also those without a spike in it; metrics stay those of the whole recording.

    Parameters
    ----------
    units : DeliveredUnits
        Of the whole recording.
    files : sequence of Boundary
        One after the other, from its first sample to its last.

    Raises
    ------
    DamagedArtefactError
        When the files do not make up the recording, so that spikes would be lost or be delivered twice.
    """
    ends = [0, *(piece.end_sample for piece in files)]
    if [piece.start_sample for piece in files] != ends[:-1] or ends[-1] != units.num_samples:
        raise DamagedArtefactError(
            f"The {len(files)} files of '{units.name}' do not make up its {units.num_samples} samples.",
            remedy="Materialize preprocessed_recording again, and what depends on it.",
            num_samples=units.num_samples,
        )
    parts = []
    for piece in files:
        parts.append(
            replace(
                units,
                name=piece.name,
                spike_samples=tuple(train[_inside(train, piece)] - piece.start_sample for train in units.spike_samples),
                spike_at_join=tuple(
                    marks[_inside(train, piece)]
                    for train, marks in zip(units.spike_samples, units.spike_at_join, strict=True)
                ),
                num_samples=piece.end_sample - piece.start_sample,
                clock=_own_clock(units.clock, piece),
            )
        )
    return parts


def _own_clock(clock: Clock, piece: Boundary) -> Clock:
    """The part of the clock that is a file's; the stated rate is that of the first file, unless it is all there is."""
    own = clock.cut(piece.start_sample, piece.end_sample)
    if clock.source != START_AND_RATE or len(own.pieces) > 1:
        return own
    return replace(own, nominal_hz=own.pieces[0].rate_hz)


def _inside(train: np.ndarray, piece: Boundary) -> slice:
    first, last = np.searchsorted(train, [piece.start_sample, piece.end_sample])
    return slice(int(first), int(last))


def _channels(analyzer: SortingAnalyzer) -> np.ndarray:
    if analyzer.sparsity is None:
        return np.ones((len(analyzer.unit_ids), analyzer.get_num_channels()), dtype=bool)
    return np.asarray(analyzer.sparsity.mask, dtype=bool)


def _waveforms(analyzer: SortingAnalyzer, unit_ids: np.ndarray) -> Waveforms | None:
    templates = analyzer.get_extension("templates")
    if templates is None or not {"average", "std"} <= templates.data.keys():
        return None
    return Waveforms(
        average_uv=templates.get_templates(unit_ids=list(unit_ids), operator="average"),
        deviation_uv=templates.get_templates(unit_ids=list(unit_ids), operator="std"),
        num_before=int(templates.nbefore),
    )


def _electrodes(analyzer: SortingAnalyzer) -> Electrodes:
    num_channels = analyzer.get_num_channels()
    properties = analyzer.rec_attributes["properties"]
    groups, areas = properties.get("group"), properties.get("brain_area")
    placed = analyzer.rec_attributes["probegroup"] is not None
    probes: tuple[ProbeFacts, ...] = (ProbeFacts("probe"),)
    probe_index = np.zeros(num_channels, dtype=int)
    if placed:
        probegroup = analyzer.get_probegroup()
        probes = tuple(
            _probe_facts(probe, "probe" if len(probegroup.probes) == 1 else f"probe {number}")
            for number, probe in enumerate(probegroup.probes, start=1)
        )
        wiring = probegroup.get_global_device_channel_indices()
        wired = wiring["device_channel_indices"] >= 0
        probe_index[wiring["device_channel_indices"][wired]] = wiring["probe_index"][wired]
    return Electrodes(
        channel_ids=np.asarray(analyzer.channel_ids),
        positions_um=np.asarray(analyzer.get_channel_locations(), dtype=float) if placed else None,
        groups=np.full(num_channels, "0") if groups is None else np.asarray(groups).astype(str),
        brain_areas=None if areas is None else np.asarray(areas).astype(str),
        probes=probes,
        probe_index=probe_index,
    )


def _probe_facts(probe: Probe, fallback: str) -> ProbeFacts:
    return ProbeFacts(
        name=str(probe.name or fallback),
        manufacturer=probe.manufacturer,
        model=probe.model_name,
        serial_number=None if probe.serial_number is None else str(probe.serial_number),
    )
