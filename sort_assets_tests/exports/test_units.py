"""Which units are delivered, and how those of a concatenated recording are shared out among its files."""

from itertools import pairwise

import numpy as np
import pytest

from sort_assets.config.units import DeliveryConfig
from sort_assets.errors import DamagedArtefactError
from sort_assets.exports.units import delivered_units, split_by_file
from sort_assets.recordings.clock import clock_from_start, join_clocks
from sort_assets.recordings.opening import Boundary
from sort_assets_tests.exports.conftest import START_S, Sorted

PLAIN = clock_from_start(300_000, 30_000.0)
CUTS = (0, 90_000, 90_001, 300_000)


def files_of(cuts: tuple[int, ...]) -> list[Boundary]:
    return [
        Boundary(f"part_{number}.nwb", start, end, 100.0 * number)
        for number, (start, end) in enumerate(pairwise(cuts), start=1)
    ]


def test_rejected_units_are_left_out(sorted_units: Sorted) -> None:
    units = sorted_units.units()

    assert units.unit_ids.tolist() == [12, 8, 40, 7, 0, 9, 5]
    assert units.table.index.tolist() == ["12", "8", "40", "7", "0", "9", "5"]


def test_rejected_units_are_delivered_when_asked_for_and_their_label_says_so(sorted_units: Sorted) -> None:
    units = sorted_units.units(include_failed_units=True)

    assert units.unit_ids.tolist() == [12, 3, 8, 40, 7, 0, 9, 5]
    assert units.table.loc["3", "label"] == "rejected"


def test_spikes_channels_and_waveforms_are_those_of_each_unit(sorted_units: Sorted) -> None:
    analyzer = sorted_units.analyzer

    units = sorted_units.units()

    assert units.start_time_s == START_S
    assert units.duration_s == 10.0
    templates = analyzer.get_extension("templates")
    for index, unit_id in enumerate(units.unit_ids):
        np.testing.assert_array_equal(units.spike_samples[index], sorted_units.trains[str(unit_id)])
        np.testing.assert_allclose(units.spike_times_s[index], START_S + units.spike_samples[index] / 30_000)
        np.testing.assert_array_equal(
            analyzer.channel_ids[units.channels[index]], analyzer.sparsity.unit_id_to_channel_ids[unit_id]
        )
        for operator, delivered in (("average", units.waveforms.average_uv), ("std", units.waveforms.deviation_uv)):
            expected = templates.get_unit_template(unit_id, operator=operator)
            np.testing.assert_array_equal(delivered[index], expected)


def test_a_table_that_lacks_a_unit_is_refused(sorted_units: Sorted) -> None:
    table = sorted_units.table.drop(index="40")

    with pytest.raises(DamagedArtefactError, match="lacks 1 of 8 units: 40"):
        delivered_units(sorted_units.analyzer, table, DeliveryConfig(), clock=PLAIN)


def test_without_decisions_every_unit_is_delivered(sorted_units: Sorted) -> None:
    table = sorted_units.table[["snr"]]

    units = delivered_units(sorted_units.analyzer, table, DeliveryConfig(waveforms=False), clock=PLAIN)

    assert len(units) == 8
    assert units.waveforms is None


def test_an_analyzer_without_templates_delivers_spikes(sorted_units: Sorted) -> None:
    analyzer = sorted_units.analyzer.copy()
    analyzer.delete_extension("templates")

    units = delivered_units(analyzer, sorted_units.table, DeliveryConfig(), clock=PLAIN)

    assert units.waveforms is None
    assert units.num_spikes > 0


def test_columns_are_described_with_their_units(sorted_units: Sorted) -> None:
    units = sorted_units.units()

    assert units.describe("amplitude_median") == "Median amplitude of the spikes. In µV."
    assert units.describe("snr_ok") == "Whether snr passes the criterion of curation."
    assert units.describe("kept") == "Whether the unit is delivered."


def test_files_add_up_to_the_whole(sorted_units: Sorted) -> None:
    units = sorted_units.units()

    parts = split_by_file(units, files_of(CUTS))

    assert [part.name for part in parts] == ["part_1.nwb", "part_2.nwb", "part_3.nwb"]
    assert [part.num_samples for part in parts] == [90_000, 1, 209_999]
    for index in range(len(units)):
        rejoined = [part.spike_samples[index] + start for part, start in zip(parts, CUTS, strict=False)]
        np.testing.assert_array_equal(np.concatenate(rejoined), units.spike_samples[index])


def test_times_of_each_file_are_those_of_its_own_clock(sorted_units: Sorted) -> None:
    clocks = [clock_from_start(end - start, 30_000.0, 900.0 - 100 * start) for start, end in pairwise(CUTS)]
    units = sorted_units.units(clock=join_clocks(clocks))

    parts = split_by_file(units, files_of(CUTS))

    assert [part.start_time_s for part in parts] == [clock.start_time_s for clock in clocks]
    last = parts[-1].spike_times_s[0][-1] - parts[-1].start_time_s
    assert last == pytest.approx((299_999 - 90_001) / 30_000)


def test_files_that_are_not_the_whole_recording_are_refused(sorted_units: Sorted) -> None:
    units = sorted_units.units()

    for cuts in ((0, 90_000, 299_999), (1, 90_000, 300_000)):
        with pytest.raises(DamagedArtefactError, match="do not make up"):
            split_by_file(units, files_of(cuts))


def test_a_recording_without_units_delivers_an_empty_table(no_units: Sorted) -> None:
    units = no_units.units()

    assert len(units) == 0
    assert units.num_spikes == 0
    assert units.waveforms.average_uv.shape == (0, 90, 16)
    assert list(units.table.columns) == list(no_units.table.columns)
    assert [len(part) for part in split_by_file(units, files_of(CUTS))] == [0, 0, 0]


def test_one_channel_without_a_position(one_channel: Sorted) -> None:
    units = one_channel.units()

    assert units.channels.tolist() == [[True]]
    assert units.electrodes.positions_um is None
    assert units.electrodes.groups.tolist() == ["0"]


def test_a_file_of_another_stated_rate_runs_at_that_rate(sorted_units: Sorted) -> None:
    clock = join_clocks([clock_from_start(100_000, 30_000.0), clock_from_start(200_000, 30_002.4)])
    files = [Boundary("a", 0, 100_000, 0.0), Boundary("b", 100_000, 300_000, 0.0)]

    first, second = split_by_file(sorted_units.units(clock=clock), files)

    assert first.clock.ppm == pytest.approx(0, abs=1e-6)
    assert second.clock.against_nominal == "+0.00 ppm from the nominal 30002.4 Hz"
