"""Units whose spikes are known, in an analyzer on a real `.dat`, with a table of metrics and decisions."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from spikeinterface.core import (
    BaseRecording,
    BaseSorting,
    NumpyRecording,
    NumpySorting,
    SortingAnalyzer,
    create_sorting_analyzer,
)
from spikeinterface.postprocessing import ComputeTemplateSimilarity
from spikeinterface.preprocessing import scale_to_uV

from sort_assets.config.rules import RecordingSettings
from sort_assets.config.session_facts import SessionFacts, SubjectFacts
from sort_assets.config.units import DeliveryConfig
from sort_assets.exports.units import DeliveredUnits, delivered_units
from sort_assets.recordings.clock import Clock, clock_from_start
from sort_assets.recordings.dat_file import read_dat, write_dat

START_S = 2.5
"""Time of the recording's first sample."""


@dataclass(frozen=True)
class Sorted:
    """A recording with known spikes, as it is before delivery."""

    analyzer: SortingAnalyzer
    table: pd.DataFrame
    dat_path: Path

    @property
    def trains(self) -> dict[str, np.ndarray]:
        """The spikes that were put in, by unit."""
        sorting = self.analyzer.sorting
        return {str(unit_id): sorting.get_unit_spike_train(unit_id) for unit_id in sorting.unit_ids}

    def units(self, *, clock: Clock | None = None, **config: object) -> DeliveredUnits:
        """What is delivered of it."""
        plain = clock_from_start(int(self.analyzer.get_total_samples()), 30_000.0, START_S)
        return delivered_units(
            self.analyzer, self.table, DeliveryConfig(**config), clock=clock or plain, name="mouse 1/day 2.nwb"
        )


def analyzer_of(recording: BaseRecording, sorting: BaseSorting) -> SortingAnalyzer:
    """An analyzer as the asset `waveforms` makes it; without channel positions it is dense."""
    sparse = recording.has_probe() and len(sorting.unit_ids) > 0
    analyzer = create_sorting_analyzer(
        sorting,
        recording,
        sparse=sparse,
        sparsity_kwargs={"method": "radius", "radius_um": 60} if sparse else None,
        job_kwargs={"n_jobs": 1, "progress_bar": False},
    )
    extensions = {
        "random_spikes": {"max_spikes_per_unit": 50, "seed": 0},
        "waveforms": {"ms_before": 1.0, "ms_after": 2.0},
        "templates": {},
    }
    if len(sorting.unit_ids):
        extensions |= {"spike_amplitudes": {}}
    analyzer.compute(extensions, n_jobs=1, progress_bar=False)
    analyzer.extensions["template_similarity"] = cosine_similarity(analyzer)
    return analyzer


def cosine_similarity(analyzer: SortingAnalyzer) -> ComputeTemplateSimilarity:
    """The extension, computed here: SpikeInterface compiles its function with numba for 20 s."""
    average = analyzer.get_extension("templates").get_templates()
    flat = average.reshape(len(average), np.prod(average.shape[1:]))
    norms = np.maximum(np.linalg.norm(flat, axis=1), 1e-9)
    extension = ComputeTemplateSimilarity(analyzer)
    extension.set_params(save=False)
    extension.data["similarity"] = flat @ flat.T / np.outer(norms, norms)
    extension.run_info = {"run_completed": True, "runtime_s": 0.0}
    return extension


def table_of(analyzer: SortingAnalyzer) -> pd.DataFrame:
    """Metrics and decisions of every kind; the second unit is rejected, and some values are missing."""
    count = len(analyzer.unit_ids)
    index = pd.Index([str(unit_id) for unit_id in analyzer.unit_ids], name="unit_id", dtype=str)
    rejected = np.arange(count) == 1
    spikes = [len(analyzer.sorting.get_unit_spike_train(unit_id)) for unit_id in analyzer.unit_ids]
    return pd.DataFrame(
        {
            "num_spikes": pd.array(spikes, dtype="Int64"),
            "snr": np.arange(count) + 4.5,
            "amplitude_cutoff": np.where(np.arange(count) % 2, np.nan, 0.01),
            "d_prime": np.full(count, np.nan),
            "primary_channel": pd.array(["ch 0"] * count, dtype="string"),
            "label": pd.array(np.where(rejected, "rejected", "good"), dtype="string"),
            "kept": pd.array(~rejected, dtype="boolean"),
            "reason": pd.array(np.where(rejected, "snr 5.5,\tbelow 6 µV", ""), dtype="string"),
            "snr_ok": pd.array([None, *(~rejected)[1:]][:count], dtype="boolean"),
        },
        index=index,
    )


@pytest.fixture(scope="session")
def sorted_units(short: tuple[BaseRecording, BaseSorting], tmp_path_factory: pytest.TempPathFactory) -> Sorted:
    """Seven of the eight units of `short`, with numbers as ids, not in order, and a further one without spikes.

    The last spike of the first unit is at the last sample of the recording.
    """
    recording, truth = short
    dat_path = tmp_path_factory.mktemp("sorted") / "traces.dat"
    microvolts = scale_to_uV(recording)
    microvolts.shift_times(START_S)
    write_dat(microvolts, dat_path)
    ids = [12, 3, 40, 7, 0, 9, 5]
    trains = {new: truth.get_unit_spike_train(old) for new, old in zip(ids, truth.unit_ids, strict=False)}
    trains[12] = np.append(trains[12], recording.get_num_samples() - 1)
    trains = {12: trains.pop(12), 3: trains.pop(3), 8: np.zeros(0, dtype="int64"), **trains}
    sorting = NumpySorting.from_unit_dict([trains], recording.sampling_frequency)
    analyzer = analyzer_of(read_dat(dat_path), sorting)
    return Sorted(analyzer, table_of(analyzer), dat_path)


@pytest.fixture(scope="session")
def no_units(sorted_units: Sorted) -> Sorted:
    """The same recording, in which no units were found."""
    recording = sorted_units.analyzer.recording
    sorting = NumpySorting.from_unit_dict([{}], recording.sampling_frequency)
    analyzer = analyzer_of(recording, sorting)
    return Sorted(analyzer, table_of(analyzer), sorted_units.dat_path)


@pytest.fixture(scope="session")
def one_channel(sorted_units: Sorted, tmp_path_factory: pytest.TempPathFactory) -> Sorted:
    """One unit on the only channel of a recording without positions."""
    whole = sorted_units.analyzer.recording
    recording = NumpyRecording(
        [whole.get_traces(channel_ids=["0"])], 30_000.0, t_starts=[START_S], channel_ids=["lone"]
    )
    recording.set_channel_gains(whole.get_channel_gains()[0])
    recording.set_channel_offsets(0.0)
    dat_path = tmp_path_factory.mktemp("one_channel") / "traces.dat"
    write_dat(scale_to_uV(recording), dat_path)
    sorting = NumpySorting.from_unit_dict([{4: sorted_units.trains["12"]}], 30_000.0)
    # SpikeInterface 0.105.3 makes no analyzer without a probe, and opens one that has none.
    placed = read_dat(dat_path)
    placed.set_dummy_probe_from_locations(np.zeros((1, 2)))
    analyzer = analyzer_of(placed, sorting)
    analyzer.rec_attributes["probegroup"] = None
    return Sorted(analyzer, table_of(analyzer), dat_path)


@pytest.fixture
def renamed(sorted_units: Sorted) -> Sorted:
    """The same units with text as ids."""
    names = {unit_id: f"0{index}" for index, unit_id in enumerate(sorted_units.analyzer.unit_ids)}
    analyzer = sorted_units.analyzer.copy()
    analyzer.sorting = analyzer.sorting.rename_units(list(names.values()))
    return Sorted(analyzer, table_of(analyzer), sorted_units.dat_path)


@pytest.fixture
def stated() -> RecordingSettings:
    """Everything that archives ask for."""
    return RecordingSettings(
        session=SessionFacts(
            session_description="The mouse ran on a wheel.",
            session_start_time="2024-05-01T10:00:00+02:00",
            experimenter="Doe, Jane",
            experiment_description="Responses to running.",
            lab="Lab of Wheels",
            institution="University of Runners",
            keywords=["running", "wheel"],
            notes="The wheel squeaked.",
            electrode_location="VISp",
        ),
        subject=SubjectFacts(
            subject_id="M1",
            species="Mus musculus",
            sex="F",
            age="P90D",
            date_of_birth="2024-02-01",
            description="A healthy mouse.",
        ),
    )


@pytest.fixture
def unstated() -> RecordingSettings:
    return RecordingSettings()
