import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest
from probeinterface import write_probeinterface
from spikeinterface.core import BaseRecording
from spikeinterface.core import load as load_recording
from spikeinterface.preprocessing import decimate

from sort_assets.config import RecordingConfig
from sort_assets.errors import (
    ClockGapError,
    MissingPluginError,
    MissingProbeError,
    RecordingError,
    StreamError,
    UnreadableRecordingError,
)
from sort_assets.recordings import open_recording, prepare, sortable_streams
from sort_assets.recordings.clock import recording_clock
from sort_assets.recordings.clock_check import clock as clock_check
from sort_assets.recordings.formats.reading import LINKED_FILE
from sort_assets.recordings.headers import read_header
from sort_assets.testing.nwb import write_nwb
from sort_assets_tests.recordings.files import recording_of, tetrodes_at_one_place

GIVEN_GAIN = RecordingConfig(gain_to_uv=0.195, bad_channels="none")


@pytest.fixture
def field_potentials(short: BaseRecording) -> BaseRecording:
    return decimate(short, 24, antialias=False)


def test_samples_gains_and_locations_are_those_written(short: BaseRecording, tmp_path: Path) -> None:
    path = write_nwb(short, tmp_path / "recording.nwb")

    recording = open_recording(path)

    np.testing.assert_array_equal(recording.get_traces(), short.get_traces())
    np.testing.assert_allclose(recording.get_channel_gains(), 0.195)
    np.testing.assert_array_equal(recording.get_channel_locations(), short.get_channel_locations())
    assert recording.channel_ids.tolist() == short.channel_ids.tolist()


def test_compressed_samples_are_read(short: BaseRecording, tmp_path: Path) -> None:
    path = write_nwb(short, tmp_path / "recording.nwb", compression="gzip")

    recording = open_recording(path)

    np.testing.assert_array_equal(recording.get_traces(), short.get_traces())
    with h5py.File(path) as file:
        assert file["acquisition/ElectricalSeries/data"].compression == "gzip"


def test_the_start_time_is_kept(short: BaseRecording, tmp_path: Path) -> None:
    path = write_nwb(short, tmp_path / "recording.nwb", starting_time_s=12.5)

    assert open_recording(path).get_start_time() == 12.5


def test_a_clock_in_seconds_since_1970_keeps_its_rate_and_its_times(short: BaseRecording, tmp_path: Path) -> None:
    path = write_nwb(short, tmp_path / "recording.nwb", timestamps=True, starting_time_s=1_700_000_000.25)

    recording = open_recording(path)

    clock = recording_clock(recording)
    assert recording.sampling_frequency == 30_000
    assert abs(clock.ppm) < 1
    samples = np.arange(recording.get_num_samples())
    np.testing.assert_allclose(clock.times_s(samples) - 1_700_000_000.25, samples / 30_000, atol=1e-6, rtol=0)
    assert clock_check(recording).passed


@pytest.mark.parametrize("gaps", ["split", "refuse"])
def test_a_hole_in_the_timestamps_is_told_or_refused(gaps: str, short: BaseRecording, tmp_path: Path) -> None:
    path = write_nwb(short, tmp_path / "recording.nwb", timestamps=True, starting_time_s=5.0)
    with h5py.File(path, "a") as file:
        file["acquisition/ElectricalSeries/timestamps"][30_000:] += 30.0
    config = RecordingConfig(gaps=gaps)
    if gaps == "refuse":
        with pytest.raises(ClockGapError, match="first by 900000 samples before sample 30000"):
            open_recording(path, config=config)
        for part in ({"end_s": 1.0}, {"start_s": 1.0}):  # as the remedy says
            alone = RecordingConfig(gaps=gaps, **part)
            assert recording_clock(prepare(open_recording(path, config=alone), alone)).jumps == ()
        return

    recording = open_recording(path, config=config)

    assert recording_clock(recording).times_s([29_999, 30_000]) == pytest.approx([5 + 29_999 / 30_000, 36.0])
    result = clock_check(recording)
    assert not result.passed
    assert "900000 samples (30.000 s) are missing before sample 30000" in result.description


@pytest.mark.parametrize("sample", [0, 12_345])
def test_timestamps_that_are_no_numbers_are_refused(sample: int, short: BaseRecording, tmp_path: Path) -> None:
    path = write_nwb(short, tmp_path / "recording.nwb", timestamps=True)
    with h5py.File(path, "a") as file:
        file["acquisition/ElectricalSeries/timestamps"][sample] = np.nan

    with pytest.raises(UnreadableRecordingError, match=f"timestamp of sample {sample} is no number"):
        open_recording(path)


def test_timestamps_instead_of_a_rate_are_read(short: BaseRecording, tmp_path: Path) -> None:
    path = write_nwb(short, tmp_path / "recording.nwb", timestamps=True, starting_time_s=3.0)

    recording = open_recording(path)

    assert recording.sampling_frequency == pytest.approx(30000, rel=1e-6)
    assert recording.get_start_time() == 3.0


def test_offsets_and_channel_wise_gains_reach_microvolts(short: BaseRecording, tmp_path: Path) -> None:
    uneven = recording_of(short.get_traces(), short)
    uneven.set_channel_gains(np.linspace(0.1, 0.4, 16))
    uneven.set_channel_offsets(25.0)
    path = write_nwb(uneven, tmp_path / "recording.nwb")

    microvolts = open_recording(path).get_traces(return_in_uV=True)

    np.testing.assert_allclose(microvolts, uneven.get_traces(return_in_uV=True), rtol=1e-5, atol=1e-3)


def test_each_fast_series_is_a_stream(short: BaseRecording, field_potentials: BaseRecording, tmp_path: Path) -> None:
    path = write_nwb({"ProbeA": short, "ProbeB": short, "Slow": field_potentials}, tmp_path / "recording.nwb")

    assert sortable_streams(path) == ("acquisition/ProbeA", "acquisition/ProbeB")


def test_the_named_series_is_opened(short: BaseRecording, tmp_path: Path) -> None:
    reversed_traces = recording_of(short.get_traces()[::-1].copy(), short)
    path = write_nwb({"ProbeA": short, "ProbeB": reversed_traces}, tmp_path / "recording.nwb")

    recording = open_recording(path, "acquisition/ProbeB")

    np.testing.assert_array_equal(recording.get_traces(), reversed_traces.get_traces())


def test_field_potentials_beside_one_fast_series_need_no_choice(
    short: BaseRecording, field_potentials: BaseRecording, tmp_path: Path
) -> None:
    path = write_nwb({"Fast": short, "Slow": field_potentials}, tmp_path / "recording.nwb")

    assert sortable_streams(path) == ()
    assert open_recording(path).sampling_frequency == 30000


@pytest.mark.parametrize("stream", [None, "acquisition/ProbeC"])
def test_a_stream_error_lists_the_series(stream: str | None, short: BaseRecording, tmp_path: Path) -> None:
    path = write_nwb({"ProbeA": short, "ProbeB": short}, tmp_path / "recording.nwb")

    with pytest.raises(StreamError, match="acquisition/ProbeA, acquisition/ProbeB"):
        open_recording(path, stream)


def test_field_potentials_are_refused_with_their_rate(
    short: BaseRecording, field_potentials: BaseRecording, tmp_path: Path
) -> None:
    path = write_nwb({"Fast": short, "Slow": field_potentials}, tmp_path / "recording.nwb")

    with pytest.raises(StreamError, match=r"1250 samples per second.*acquisition/Fast"):
        open_recording(path, "processing/ecephys/LFP_Slow/Slow")


def test_a_file_of_field_potentials_alone_has_nothing_to_sort(field_potentials: BaseRecording, tmp_path: Path) -> None:
    path = write_nwb(field_potentials, tmp_path / "recording.nwb")

    with pytest.raises(StreamError, match="no stream that can be sorted"):
        open_recording(path)


@pytest.mark.parametrize(("units", "rate"), [(1e3, "30"), (30000.0, "1")])
def test_timestamps_that_are_not_in_seconds_are_told_with_their_rate(
    units: float, rate: str, short: BaseRecording, tmp_path: Path
) -> None:
    path = write_nwb(short, tmp_path / "recording.nwb", timestamps=True)
    with h5py.File(path, "a") as file:
        file[f"{SERIES}/timestamps"][...] *= units

    with pytest.raises(StreamError, match=rf"{rate} samples per second by its timestamps.*timestamps in seconds"):
        open_recording(path)


def test_a_file_without_signal_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "recording.nwb", "w") as file:
        file.create_group("acquisition")

    with pytest.raises(UnreadableRecordingError, match="no electrical series"):
        open_recording(tmp_path / "recording.nwb")


def test_a_series_without_its_electrodes_is_unreadable_with_the_cause(short: BaseRecording, tmp_path: Path) -> None:
    path = write_nwb(short, tmp_path / "recording.nwb")
    with h5py.File(path, "a") as file:
        del file["acquisition/ElectricalSeries/electrodes"]

    with pytest.raises(UnreadableRecordingError, match="it names no electrodes"):
        open_recording(path)


TETRODE_UM = np.array([[0, 0], [0, 20], [20, 0], [20, 20]], dtype=float)


def _write_positions(short: BaseRecording, path: Path, columns: dict[str, np.ndarray], **options: object) -> Path:
    """An NWB file whose electrodes have these columns, such as rel_z, in place of those it had."""
    write_nwb(short, path, **options)
    with h5py.File(path, "a") as file:
        table = file["general/extracellular_ephys/electrodes"]
        for name, values in columns.items():
            if name in table:
                table[name][...] = values
                continue
            attributes = dict(table["rel_x"].attrs)
            table[name] = values
            table[name].attrs.update(attributes)
            table.attrs["colnames"] = [*table.attrs["colnames"], name]
    return path


@pytest.mark.parametrize("plane", ["xy", "xz", "yz"])
def test_electrodes_in_any_plane_of_space_have_two_coordinates(
    plane: str, short: BaseRecording, tmp_path: Path
) -> None:
    placed = short.get_channel_locations()
    columns = {f"rel_{axis}": np.full(16, 7.5) for axis in "xyz"}
    columns |= {f"rel_{axis}": placed[:, number] for number, axis in enumerate(plane)}
    path = _write_positions(short, tmp_path / "recording.nwb", columns)

    recording = open_recording(path)

    assert recording.get_probe().ndim == 2
    np.testing.assert_array_equal(recording.get_channel_locations(), placed)


@pytest.mark.parametrize(
    "unknown",
    [
        {"rel_x": slice(3, 4), "rel_y": slice(3, 4), "rel_z": slice(3, 4)},
        {"rel_z": slice(3, 4)},
        {"rel_y": slice(None)},
    ],
)
def test_electrodes_without_a_position_do_not_change_that_of_the_others(
    unknown: dict[str, slice], short: BaseRecording, tmp_path: Path
) -> None:
    placed = short.get_channel_locations()
    columns = {"rel_x": placed[:, 0].copy(), "rel_y": np.full(16, 7.5), "rel_z": placed[:, 1].copy()}
    for name, which in unknown.items():
        columns[name][which] = np.nan
    path = _write_positions(short, tmp_path / "recording.nwb", columns)

    locations = open_recording(path).get_channel_locations()

    known = np.isfinite(locations).all(axis=1)
    assert np.flatnonzero(~known).tolist() == ([3] if "rel_z" in unknown else [])
    np.testing.assert_array_equal(locations[known], placed[known])


def test_a_probe_that_stands_at_an_angle_keeps_its_distances(short: BaseRecording, tmp_path: Path) -> None:
    across, along = short.get_channel_locations().T
    columns = {"rel_x": across, "rel_y": 0.6 * along, "rel_z": 0.8 * along}
    path = _write_positions(short, tmp_path / "recording.nwb", columns)

    laid = open_recording(path).get_channel_locations()

    for positions in (laid, short.get_channel_locations()):
        assert positions.shape == (16, 2)
    between = [np.linalg.norm(one[:, None] - one[None], axis=-1) for one in (laid, short.get_channel_locations())]
    np.testing.assert_allclose(*between, atol=1e-9)


def test_tetrodes_at_different_depths_are_flat_each_on_its_own(short: BaseRecording, tmp_path: Path) -> None:
    tetrodes = tetrodes_at_one_place(short)
    path = _write_positions(tetrodes, tmp_path / "recording.nwb", {"rel_z": np.repeat([0.0, 100.0, 150.0, 300.0], 4)})

    recording = open_recording(path)

    for tetrode in recording.split_by("group").values():
        np.testing.assert_array_equal(tetrode.get_channel_locations(), TETRODE_UM)


def test_a_probe_file_stands_for_electrodes_at_one_point(short: BaseRecording, tmp_path: Path) -> None:
    path = _write_positions(short, tmp_path / "recording.nwb", {"rel_x": np.zeros(16), "rel_y": np.zeros(16)})
    write_probeinterface(tmp_path / "probe.json", short.get_probe())

    with pytest.raises(MissingProbeError, match=r"Set recording\.probe_file"):
        open_recording(path)
    recording = open_recording(path, config=RecordingConfig(probe_file="probe.json"))

    np.testing.assert_array_equal(recording.get_channel_locations(), short.get_channel_locations())


def test_channels_of_the_same_name_get_ids_of_their_own(short: BaseRecording, tmp_path: Path) -> None:
    names = np.array([f"AP{number % 8}" for number in range(16)], dtype=object)
    path = _write_positions(short, tmp_path / "recording.nwb", {"channel_name": names})

    assert open_recording(path).channel_ids.tolist()[7:10] == ["AP7", "AP0#2", "AP1#2"]


@pytest.mark.parametrize(
    ("conversion", "message"),
    [
        (0.0, "no usable gain"),
        (np.nan, "no usable gain"),
        (1.0, r"1000000 microvolts for one count.*no spike is as large"),
        (2e-13, r"2e-07 microvolts for one count.*no spike fits"),
    ],
)
def test_a_gain_that_can_t_be_is_asked_for(
    conversion: float, message: str, short: BaseRecording, tmp_path: Path
) -> None:
    path = write_nwb(short, tmp_path / "recording.nwb")
    with h5py.File(path, "a") as file:
        file["acquisition/ElectricalSeries/data"].attrs["conversion"] = conversion

    with pytest.raises(RecordingError, match=rf"{message}.*recording\.gain_to_uv"):
        open_recording(path)
    recording = prepare(open_recording(path, config=GIVEN_GAIN), GIVEN_GAIN)

    assert np.isfinite(recording.get_traces(end_frame=10)).all()


def _linking_file(path: Path, links: dict[str, h5py.ExternalLink | h5py.SoftLink], like: Path | None = None) -> Path:
    """An NWB file with links; with series and electrodes of its own where it is to be like another file."""
    if like is not None:
        shutil.copy(like, path)
    with h5py.File(path, "a") as file:
        for name, link in links.items():
            file.require_group(name.rpartition("/")[0])
            file[name] = link
    return path


SERIES = "acquisition/ElectricalSeries"


def test_a_link_to_another_file_s_series_opens_that_one(short: BaseRecording, tmp_path: Path) -> None:
    raw = write_nwb(short, tmp_path / "raw.nwb", starting_time_s=3.0)
    path = _linking_file(tmp_path / "day.nwb", {"acquisition/Raw": h5py.ExternalLink("raw.nwb", SERIES)})

    recording = open_recording(path)

    assert sortable_streams(path) == ()
    assert recording.get_annotation(LINKED_FILE) == str(raw)
    assert recording.get_start_time() == 3.0
    np.testing.assert_array_equal(recording.get_traces(), short.get_traces())
    np.testing.assert_array_equal(recording.get_channel_locations(), short.get_channel_locations())


def test_samples_that_lie_in_another_file_are_known_to(short: BaseRecording, tmp_path: Path) -> None:
    raw = write_nwb(short, tmp_path / "raw.nwb")
    path = write_nwb(short.frame_slice(0, 100), tmp_path / "day.nwb")
    with h5py.File(path, "a") as file:
        attributes = dict(file[f"{SERIES}/data"].attrs)
        del file[f"{SERIES}/data"]
        file[f"{SERIES}/data"] = h5py.ExternalLink("raw.nwb", f"{SERIES}/data")
        assert dict(file[f"{SERIES}/data"].attrs).keys() == attributes.keys()

    recording = open_recording(path)

    assert recording.get_annotation(LINKED_FILE) == str(raw)
    np.testing.assert_array_equal(recording.get_traces(), short.get_traces())


def test_a_link_within_the_file_is_the_same_series(short: BaseRecording, tmp_path: Path) -> None:
    raw = write_nwb(short, tmp_path / "raw.nwb")
    path = _linking_file(tmp_path / "day.nwb", {"processing/ecephys/Again": h5py.SoftLink(f"/{SERIES}")}, like=raw)

    assert sortable_streams(path) == ()
    assert open_recording(path).get_annotation(LINKED_FILE) is None


@pytest.mark.parametrize(
    ("link", "message"),
    [
        (h5py.ExternalLink("moved.nwb", SERIES), r"a link to '.*ElectricalSeries' in '.*moved\.nwb', and that file"),
        (h5py.ExternalLink("raw.nwb", "acquisition/Other"), r"Other' in '.*raw\.nwb', which holds no such thing"),
        (h5py.SoftLink("/acquisition/Other"), "a link to '/acquisition/Other' in the same file"),
        (h5py.SoftLink("/acquisition/Gone"), "a link to '/acquisition/Gone' .* or leads back to it"),
    ],
)
def test_a_link_that_leads_nowhere_names_its_target_and_blocks_no_other_series(
    link: h5py.ExternalLink | h5py.SoftLink, message: str, short: BaseRecording, tmp_path: Path
) -> None:
    raw = write_nwb(short, tmp_path / "raw.nwb")
    path = _linking_file(tmp_path / "day.nwb", {"acquisition/Gone": link}, like=raw)

    with pytest.raises(UnreadableRecordingError, match=message):
        open_recording(path, "acquisition/Gone")
    header = read_header(path, RecordingConfig())

    assert [stream.name for stream in header.streams] == [SERIES]
    assert list(header.problems) == ["acquisition/Gone"]
    with pytest.raises(StreamError, match=rf"1 can't be read.*one of: {SERIES}\.$"):
        open_recording(path)


@pytest.mark.parametrize("target", ["/acquisition", "/", "/acquisition/More"])
def test_a_link_to_a_group_above_it_ends(target: str, short: BaseRecording, tmp_path: Path) -> None:
    raw = write_nwb(short, tmp_path / "raw.nwb")
    path = _linking_file(tmp_path / "day.nwb", {"acquisition/More/Up": h5py.SoftLink(target)}, like=raw)

    assert open_recording(path).get_num_channels() == 16


@pytest.mark.parametrize(("part", "message"), [("data", "has no data"), ("starting_time", "neither a starting_time")])
def test_a_series_without_samples_or_times_says_so(
    part: str, message: str, short: BaseRecording, tmp_path: Path
) -> None:
    path = write_nwb(short, tmp_path / "recording.nwb")
    with h5py.File(path, "a") as file:
        del file[f"{SERIES}/{part}"]

    with pytest.raises(UnreadableRecordingError, match=rf"{message}.*Write the file again"):
        open_recording(path)


def test_files_that_link_to_each_other_are_read(short: BaseRecording, tmp_path: Path) -> None:
    raw = write_nwb(short, tmp_path / "raw.nwb")
    path = _linking_file(tmp_path / "day.nwb", {"acquisition/All": h5py.ExternalLink("raw.nwb", "/acquisition")}, raw)
    _linking_file(raw, {"acquisition/All": h5py.ExternalLink("day.nwb", "/acquisition")})

    assert sortable_streams(path) == ("acquisition/All/ElectricalSeries", "acquisition/ElectricalSeries")


@pytest.mark.parametrize("rate", [np.nan, np.inf, 0.0])
def test_a_rate_that_can_t_be_is_named(rate: float, short: BaseRecording, tmp_path: Path) -> None:
    path = write_nwb(short, tmp_path / "recording.nwb")
    with h5py.File(path, "a") as file:
        file[f"{SERIES}/starting_time"].attrs["rate"] = rate

    with pytest.raises(UnreadableRecordingError, match=r"states .* samples per second"):
        open_recording(path)


def _compress(path: Path, name: str, values: np.ndarray, **filters: object) -> None:
    with h5py.File(path, "a") as file:
        attributes = dict(file[f"{SERIES}/{name}"].attrs)
        del file[f"{SERIES}/{name}"]
        file[SERIES].create_dataset(name, data=values, **filters)
        file[f"{SERIES}/{name}"].attrs.update(attributes)


@pytest.mark.parametrize(
    "compression",
    [
        hdf5plugin.Blosc(cname="zstd"),
        hdf5plugin.Blosc2(cname="lz4", filters=hdf5plugin.Blosc2.BITSHUFFLE),
        hdf5plugin.Zstd(),
        hdf5plugin.Bitshuffle(),
        hdf5plugin.LZ4(),
        hdf5plugin.BZip2(),
    ],
    ids=lambda one: type(one).__name__,
)
def test_samples_and_timestamps_compressed_by_the_usual_plugins_are_read(
    compression: Mapping[str, object], short: BaseRecording, tmp_path: Path
) -> None:
    path = write_nwb(short, tmp_path / "recording.nwb", timestamps=True, starting_time_s=7.5)
    _compress(path, "data", short.get_traces(), **compression)
    _compress(path, "timestamps", 7.5 + np.arange(short.get_num_samples()) / 30_000, **compression)

    recording = open_recording(path)

    np.testing.assert_array_equal(recording.get_traces(), short.get_traces())
    assert recording_clock(recording).start_time_s == pytest.approx(7.5)
    np.testing.assert_array_equal(load_recording(recording.to_dict()).get_traces(0, 0, 10), short.get_traces(0, 0, 10))


def test_another_process_that_loads_the_recording_knows_the_filters(short: BaseRecording, tmp_path: Path) -> None:
    path = write_nwb(short, tmp_path / "recording.nwb")
    _compress(path, "data", short.get_traces(), **hdf5plugin.Zstd())
    described = tmp_path / "recording.json"
    open_recording(path).dump_to_json(described)
    code = f"from spikeinterface.core import load; print(load({str(described)!r}).get_traces(0, 0, 1).tolist())"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert json.loads(done.stdout) == short.get_traces(0, 0, 1).tolist()


@pytest.mark.parametrize("name", ["data", "timestamps"])
def test_a_filter_that_no_package_has_is_named_with_its_remedy(name: str, short: BaseRecording, tmp_path: Path) -> None:
    path = write_nwb(short, tmp_path / "recording.nwb", timestamps=True)
    nobodys = 40_999
    with h5py.File(path, "a") as file:
        shape = file[f"{SERIES}/{name}"].shape
        attributes = dict(file[f"{SERIES}/{name}"].attrs)
        del file[f"{SERIES}/{name}"]
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk(tuple(min(one, 1000) for one in shape))
        plist.set_filter(nobodys, h5py.h5z.FLAG_OPTIONAL, (3,))
        kind = h5py.h5t.NATIVE_INT16 if name == "data" else h5py.h5t.NATIVE_DOUBLE
        dataset = h5py.Dataset(
            h5py.h5d.create(file[SERIES].id, name.encode(), kind, h5py.h5s.create_simple(shape), plist)
        )
        chunk = np.ones(tuple(min(one, 1000) for one in shape), dataset.dtype)
        dataset.id.write_direct_chunk((0,) * len(shape), chunk.tobytes(), 0)
        dataset.attrs.update(attributes)

    with pytest.raises(MissingPluginError, match=r"filter of HDF5 that is not installed.*HDF5_PLUGIN_PATH"):
        open_recording(path)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (lambda traces: traces[:5000].T, "5000 columns and 16 rows: rows and columns are exchanged"),
        (lambda traces: traces[:, :9], "9 columns, and 16 electrodes are named"),
    ],
)
def test_samples_that_are_not_those_of_the_electrodes_are_refused(
    samples: Callable[[np.ndarray], np.ndarray], message: str, short: BaseRecording, tmp_path: Path
) -> None:
    path = write_nwb(short, tmp_path / "recording.nwb")
    with h5py.File(path, "a") as file:
        attributes = dict(file[f"{SERIES}/data"].attrs)
        del file[f"{SERIES}/data"]
        file[f"{SERIES}/data"] = samples(short.get_traces())
        file[f"{SERIES}/data"].attrs.update(attributes)

    with pytest.raises(UnreadableRecordingError, match=message):
        open_recording(path)


@pytest.mark.parametrize("electrodes", ["named", "not named"])
def test_a_probe_file_does_not_make_samples_of_channels(electrodes: str, short: BaseRecording, tmp_path: Path) -> None:
    path = write_nwb(short, tmp_path / "recording.nwb")
    write_probeinterface(tmp_path / "probe.json", short.get_probe())
    with h5py.File(path, "a") as file:
        del file[f"{SERIES}/data"]
        file[f"{SERIES}/data"] = short.get_traces(end_frame=5000).T
        if electrodes == "not named":
            del file[f"{SERIES}/electrodes"]

    with pytest.raises(UnreadableRecordingError, match="rows and columns are exchanged"):
        open_recording(path, config=RecordingConfig(probe_file="probe.json"))


@pytest.mark.parametrize("damage", ["no electrodes", "electrodes that are not in the table"])
def test_a_probe_file_stands_for_electrodes_that_can_t_be_read(
    damage: str, short: BaseRecording, tmp_path: Path
) -> None:
    path = write_nwb(short, tmp_path / "recording.nwb")
    write_probeinterface(tmp_path / "probe.json", short.get_probe())
    with h5py.File(path, "a") as file:
        if damage == "no electrodes":
            del file[f"{SERIES}/electrodes"]
        else:
            file[f"{SERIES}/electrodes"][0] = 999

    recording = open_recording(path, config=RecordingConfig(probe_file="probe.json"))

    np.testing.assert_array_equal(recording.get_channel_locations(), short.get_channel_locations())
    np.testing.assert_array_equal(recording.get_traces(), short.get_traces())
    assert load_recording(recording.to_dict()).get_num_channels() == 16


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (lambda traces: traces[:100].astype("complex64"), "type complex64"),
        (lambda traces: traces[:100] > 0, "type bool"),
        (lambda traces: np.full((100, 16), b"a"), r"type \|S1"),  # noqa: ARG005
        (lambda traces: traces[:100, :, None], r"shape \(100, 16, 1\)"),
    ],
)
def test_samples_that_are_no_voltages_are_refused(
    samples: Callable[[np.ndarray], np.ndarray], message: str, short: BaseRecording, tmp_path: Path
) -> None:
    path = write_nwb(short, tmp_path / "recording.nwb")
    with h5py.File(path, "a") as file:
        attributes = dict(file[f"{SERIES}/data"].attrs)
        del file[f"{SERIES}/data"]
        file[f"{SERIES}/data"] = samples(short.get_traces())
        file[f"{SERIES}/data"].attrs.update(attributes)

    with pytest.raises(UnreadableRecordingError, match=message):
        open_recording(path)


ELECTRODES = "general/extracellular_ephys/electrodes"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (f"{SERIES}/electrodes", [*range(15), 99], "a table that has 16, and 99 is none"),
        (f"{SERIES}/electrodes", [*range(15), -1], "a table that has 16, and -1 is none"),
        (f"{SERIES}/electrodes", [0.5] * 16, "no list of rows of the table, but float64"),
        (f"{ELECTRODES}/rel_x", [b"left"] * 16, "rel_x of the table of electrodes holds no numbers"),
        (f"{ELECTRODES}/rel_y", [1.0] * 9, "rel_y of the table of electrodes does not have a value for each"),
        (f"{ELECTRODES}/channel_name", [np.nan] * 16, "holds float64, which are no names"),
        (f"{SERIES}/starting_time", "noon", "states 'noon' as starting_time"),
        (f"{SERIES}/starting_time", 1e300, r"times up to 1e\+300 s, where samples can't be told apart"),
        (f"{SERIES}/starting_time.rate", "fast", "states 'fast' samples per second"),
        (f"{SERIES}/timestamps", np.arange(60_000)[:, None] / 3e4, r"float64 of shape \(60000, 1\), not one number"),
        (f"{SERIES}/starting_time.rate", 3e10, r"states 3e\+10 samples per second"),
    ],
)
def test_nonsense_in_a_field_is_told_with_its_name_and_value(
    name: str, value: object, message: str, short: BaseRecording, tmp_path: Path
) -> None:
    path = write_nwb(short, tmp_path / "recording.nwb")
    _put(path, name, value)

    with pytest.raises(UnreadableRecordingError, match=message) as raised:
        open_recording(path)

    assert "Error:" not in raised.value.message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (f"{SERIES}/data.conversion", "volts"),
        (f"{SERIES}/channel_conversion", [1.0] * 9),
        (f"{SERIES}/channel_conversion", 1.0),
        (f"{SERIES}/data.offset", -30000.0),
    ],
)
def test_a_gain_that_somebody_states_stands_for_nonsense_in_the_file(
    name: str, value: object, short: BaseRecording, tmp_path: Path
) -> None:
    path = write_nwb(short, tmp_path / "recording.nwb")
    _put(path, name, value)
    stated = RecordingConfig(gain_to_uv=0.195, offset_to_uv=0.0, bad_channels="none")

    with pytest.raises(RecordingError, match=r"Set recording\.(gain|offset)_to_uv"):
        open_recording(path)
    recording = prepare(open_recording(path, config=stated), stated)

    assert np.abs(recording.get_traces(end_frame=1000)).max() < 1000


def test_a_column_that_nobody_needs_is_no_reason_to_refuse_a_file(short: BaseRecording, tmp_path: Path) -> None:
    path = write_nwb(short, tmp_path / "recording.nwb")
    _put(path, f"{ELECTRODES}/location", [b"CA1"] * 4)

    recording = open_recording(path)

    assert recording.get_property("brain_area") is None
    np.testing.assert_array_equal(recording.get_channel_locations(), short.get_channel_locations())


def _put(path: Path, name: str, value: object) -> None:
    """Put a value in the place of a data set, which keeps its attributes, or of one of its attributes."""
    place, _, attribute = name.partition(".")
    with h5py.File(path, "a") as file:
        if attribute:
            file[place].attrs[attribute] = value
            return
        if place == f"{SERIES}/timestamps":
            del file[f"{SERIES}/starting_time"]
        attributes = dict(file[place].attrs) if place in file else {}
        if place in file:
            del file[place]
        file[place] = value
        file[place].attrs.update(attributes)
