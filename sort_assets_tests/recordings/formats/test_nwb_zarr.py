"""NWB as a zarr folder, written by hdmf-zarr."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import zarr
from hdmf_zarr.nwb import NWBZarrIO
from pynwb import NWBFile
from pynwb.ecephys import LFP, ElectricalSeries
from pynwb.file import Subject
from spikeinterface.core import BaseRecording
from spikeinterface.core import load as load_recording

from sort_assets.config import RecordingConfig
from sort_assets.errors import MissingPluginError, StreamError, UnknownFormatError, UnreadableRecordingError
from sort_assets.exports.source_facts import read_source_facts
from sort_assets.recordings import open_recording, recognise, sortable_streams
from sort_assets.recordings.clock import recording_clock
from sort_assets.recordings.completeness import missing_parts
from sort_assets.recordings.formats.table import find_format
from sort_assets.recordings.headers import read_header

RAW, SLOW, HALF = "acquisition/Raw", "processing/ecephys/LFP/Slow", "acquisition/Half"
GAP_S = 1.5


@pytest.fixture(scope="session")
def written(short: BaseRecording, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three series on 16 electrodes: with a rate, with timestamps that have a gap, and field potentials."""
    nwb = NWBFile(
        session_description="synthetic",
        identifier="z",
        session_start_time=datetime(2024, 3, 1, 9, 30, tzinfo=UTC),
        experimenter=["Doe, Jane"],
        lab="a lab",
    )
    nwb.subject = Subject(subject_id="m1", species="Mus musculus", age="P30D", sex="F")
    device = nwb.create_device(name="probe")
    nwb.add_electrode_column(name="channel_name", description="name of the channel")
    groups = [
        nwb.create_electrode_group(name=f"shank{number}", description="shank", location="CA1", device=device)
        for number in range(2)
    ]
    for row, (x, y) in enumerate(short.get_channel_locations()[:, :2]):
        nwb.add_electrode(
            group=groups[row // 8], location="CA1", rel_x=float(x), rel_y=float(y), channel_name=f"ch{row}"
        )
    traces = short.get_traces()
    times = 100.0 + np.arange(len(traces)) / 30_000
    times[40_000:] += GAP_S
    region = nwb.create_electrode_table_region
    scale = {"conversion": 0.195e-6, "offset": 0.0}
    nwb.add_acquisition(
        ElectricalSeries(
            name="Raw",
            data=traces,
            electrodes=region(list(range(16)), "all"),
            rate=30_000.0,
            starting_time=2.5,
            **scale,
        )
    )
    nwb.add_acquisition(
        ElectricalSeries(
            name="Half",
            data=traces[:, 8:],
            electrodes=region(list(range(8, 16)), "half"),
            timestamps=times,
            channel_conversion=[1.0 + channel for channel in range(8)],
            **scale,
        )
    )
    potentials = LFP(name="LFP")
    nwb.create_processing_module("ecephys", "filtered").add(potentials)
    potentials.add_electrical_series(
        ElectricalSeries(
            name="Slow", data=traces[::24], electrodes=region(list(range(16)), "all"), rate=1250.0, **scale
        )
    )
    path = tmp_path_factory.mktemp("nwb_zarr") / "day.nwb.zarr"
    with NWBZarrIO(str(path), "w") as io:
        io.write(nwb)
    return path


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    return shutil.copytree(written, tmp_path / written.name)


def test_each_series_that_may_hold_spikes_is_a_stream(written: Path) -> None:
    header = read_header(written, RecordingConfig())

    assert header.format == "nwb"
    assert sortable_streams(written) == (HALF, RAW)
    assert [(one.name, one.channels, one.sampling_hz) for one in header.streams] == [
        (HALF, 8, pytest.approx(30_000)),
        (RAW, 16, 30_000),
    ]
    with pytest.raises(StreamError, match="1250 samples per second"):
        open_recording(written, SLOW)


def test_samples_gains_places_and_groups_are_those_written(written: Path, short: BaseRecording) -> None:
    recording = open_recording(written, RAW)

    np.testing.assert_array_equal(recording.get_traces(), short.get_traces())
    np.testing.assert_array_equal(
        recording.get_traces(start_frame=29_990, end_frame=30_010, channel_ids=["ch9", "ch3"]),
        short.get_traces()[29_990:30_010, [9, 3]],
    )
    np.testing.assert_array_equal(recording.get_channel_locations(), short.get_channel_locations())
    assert recording.get_channel_gains().tolist() == pytest.approx([0.195] * 16)
    assert recording.get_channel_groups().tolist() == ["shank0"] * 8 + ["shank1"] * 8
    assert recording.channel_ids.tolist() == [f"ch{number}" for number in range(16)]
    assert recording.get_property("brain_area").tolist() == ["CA1"] * 16
    assert recording_clock(recording).start_time_s == 2.5
    half = open_recording(written, HALF)
    assert half.get_channel_gains().tolist() == pytest.approx([0.195 * (1 + number) for number in range(8)])
    np.testing.assert_array_equal(load_recording(half.to_dict()).get_traces(), short.get_traces()[:, 8:])


def test_timestamps_are_the_clock(written: Path) -> None:
    clock = recording_clock(open_recording(written, HALF))

    assert clock.start_time_s == pytest.approx(100.0)
    assert [(jump.sample, jump.samples) for jump in clock.jumps] == [(40_000, GAP_S * 30_000)]


def test_session_and_subject_are_read(written: Path) -> None:
    facts, problem = read_source_facts(written, "nwb")

    assert problem == ""
    assert facts.start_time == datetime(2024, 3, 1, 9, 30, tzinfo=UTC)
    assert facts.session == {"session_description": "synthetic", "experimenter": ("Doe, Jane",), "lab": "a lab"}
    assert facts.subject["subject_id"] == "m1"
    assert facts.subject["age__reference"] == "birth"


@pytest.mark.parametrize("name", ["day.zarr", "day", "day.nwb"])
def test_a_folder_is_recognised_by_what_is_in_it(name: str, folder: Path) -> None:
    assert recognise(folder.rename(folder.with_name(name))).name == "nwb"


def test_another_zarr_folder_is_no_nwb(tmp_path: Path) -> None:
    group = zarr.open_group(str(tmp_path / "images.zarr"), "w")
    group.create_group("acquisition")
    group.create_group("processing")

    assert find_format(tmp_path / "images.zarr") is None
    with pytest.raises(UnknownFormatError):
        open_recording(tmp_path / "images.zarr")


def test_links_within_the_folder_are_followed(folder: Path, short: BaseRecording) -> None:
    """As hdmf-zarr writes timestamps that two series share, and electrodes that are linked."""
    series = folder / RAW
    shutil.rmtree(series / "starting_time")
    shutil.rmtree(series / "electrodes")
    _set_attributes(
        series,
        zarr_link=[{"name": "timestamps", "path": f"/{HALF}/timestamps", "source": "."}],
        _LINKS=[{"name": "electrodes", "path": f"/{SLOW}/electrodes", "source": "."}],
    )

    recording = open_recording(folder, RAW)

    np.testing.assert_array_equal(recording.get_channel_locations(), short.get_channel_locations())
    assert recording_clock(recording).jumps[0].sample == 40_000


@pytest.mark.parametrize(
    ("link", "message"),
    [
        ({"path": "/acquisition/Raw/data", "source": "../other.nwb.zarr"}, r"a link into '\.\./other\.nwb\.zarr'"),
        ({"path": "/acquisition/Gone/data", "source": "."}, "that is not there"),
    ],
)
def test_a_link_that_leads_elsewhere_leaves_the_other_series(link: dict[str, str], message: str, folder: Path) -> None:
    shutil.rmtree(folder / HALF / "data")
    _set_attributes(folder / HALF, zarr_link=[{"name": "data", **link}])

    header = read_header(folder, RecordingConfig())

    assert [stream.name for stream in header.streams] == [RAW]
    with pytest.raises(UnreadableRecordingError, match=message):
        raise header.problems[HALF]


def test_a_series_that_is_a_link_to_the_same_samples_is_there_once(folder: Path) -> None:
    copy = folder / "acquisition" / "Again"
    shutil.copytree(folder / RAW, copy)
    shutil.rmtree(copy / "data")
    _set_attributes(copy, zarr_link=[{"name": "data", "path": f"/{RAW}/data", "source": "."}])

    assert len(sortable_streams(folder)) == 2


def test_missing_chunks_are_refused_unless_that_is_accepted(folder: Path, short: BaseRecording) -> None:
    chunk = folder / RAW / "data" / "0.0"
    chunk.unlink()
    num_samples, num_channels = zarr.open_group(str(folder), "r")[f"{RAW}/data"].chunks

    with pytest.raises(UnreadableRecordingError, match="lacks 1 of"):
        open_recording(folder, RAW)
    recording = open_recording(folder, RAW, RecordingConfig(accept_incomplete=True))

    assert "lacks 1 of" in missing_parts(recording)[0]
    traces = recording.get_traces()
    assert not traces[:num_samples, :num_channels].any()
    np.testing.assert_array_equal(traces[num_samples:], short.get_traces()[num_samples:])


@pytest.mark.parametrize(
    "array",
    [f"{HALF}/timestamps", f"{RAW}/starting_time", f"{RAW}/electrodes", f"{HALF}/channel_conversion"]
    + [f"general/extracellular_ephys/electrodes/{column}" for column in ("rel_y", "group_name", "id")],
)
def test_missing_chunks_of_times_and_electrodes_are_never_taken_for_zeros(array: str, folder: Path) -> None:
    (folder / array / "0").unlink()

    with pytest.raises(UnreadableRecordingError, match=f"lacks 1 of .* chunks of '{array}'"):
        open_recording(folder, HALF if array.startswith(HALF) else RAW)


def test_nested_chunks_are_read_and_counted(folder: Path, short: BaseRecording) -> None:
    """As zarr's NestedDirectoryStore leaves them, which hdmf-zarr can use."""
    data = folder / RAW / "data"
    for chunk in list(data.glob("[0-9]*.[0-9]*")):
        sample, channel = chunk.name.split(".")
        (data / sample).mkdir(exist_ok=True)
        chunk.rename(data / sample / channel)
    fields = json.loads((data / ".zarray").read_text())
    (data / ".zarray").write_text(json.dumps({**fields, "dimension_separator": "/"}))

    np.testing.assert_array_equal(open_recording(folder, RAW).get_traces(), short.get_traces())
    (data / "0" / "0").unlink()
    with pytest.raises(UnreadableRecordingError, match="lacks 1 of"):
        open_recording(folder, RAW)


def test_values_without_dimensions_are_read_as_other_writers_leave_them(folder: Path, short: BaseRecording) -> None:
    shutil.rmtree(folder / RAW / "starting_time")
    start = zarr.open_group(str(folder / RAW), "a").array("starting_time", np.array(4.5))
    start.attrs.update(rate=30_000.0, unit="seconds")

    recording = open_recording(folder, RAW)

    assert recording_clock(recording).start_time_s == 4.5
    np.testing.assert_array_equal(recording.get_traces(), short.get_traces())


def test_nothing_is_unpickled_whatever_the_folder_holds(folder: Path) -> None:
    """hdmf-zarr pickles references to groups: they are left alone. What is needed and pickled is refused."""
    root = zarr.open_group(str(folder), "a")
    assert root["general/extracellular_ephys/electrodes/group"].filters[0].codec_id == "pickle"
    bomb = folder / "general/extracellular_ephys/electrodes/group/0"
    bomb.write_bytes(b"no pickle at all")

    assert open_recording(folder, RAW).get_num_channels() == 16

    description = folder / RAW / "data" / ".zarray"
    fields = json.loads(description.read_text())
    description.write_text(json.dumps({**fields, "dtype": "|O", "filters": [{"id": "pickle", "protocol": 5}]}))
    with pytest.raises(UnreadableRecordingError, match="codec pickle"):
        open_recording(folder, RAW)


def test_a_codec_that_is_not_installed_names_its_package_and_leaves_the_other_series(folder: Path) -> None:
    description = folder / RAW / "data" / ".zarray"
    fields = json.loads(description.read_text())
    description.write_text(json.dumps({**fields, "compressor": {"id": "wavpack", "level": 1}}))

    header = read_header(folder, RecordingConfig())

    assert [stream.name for stream in header.streams] == [HALF]
    with pytest.raises(MissingPluginError, match="pip install wavpack-numcodecs"):
        raise header.problems[RAW]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "zarr.json").write_text("{}"), r"zarr folder of format 3.*NWBHDF5IO"),
        (lambda folder: (folder / ".zattrs").unlink(), r"\.zattrs\) do not say"),
        (lambda folder: (folder / ".zattrs").write_text("{"), "can't be read"),
        (lambda folder: shutil.rmtree(folder / RAW / "electrodes"), "can't be read"),
        (lambda folder: shutil.rmtree(folder / "general"), "can't be read"),
        (lambda folder: (folder / RAW / "data" / ".zarray").write_text("{"), "can't be read"),
    ],
)
def test_a_damaged_folder_is_refused(damage: object, message: str, folder: Path) -> None:
    damage(folder)

    with pytest.raises(UnreadableRecordingError, match=message):
        open_recording(folder, RAW)


def _set_attributes(group: Path, **attributes: object) -> None:
    zarr.open_group(str(group), "a").attrs.update(attributes)
