import json
from pathlib import Path

import numpy as np
import pytest
from probeinterface import Probe, ProbeGroup, write_probeinterface
from spikeinterface.core import BaseRecording

from sort_assets.config import RecordingConfig
from sort_assets.errors import ConfigError, MissingProbeError, ProbeGeometryError
from sort_assets.recordings import open_recording, require_probe, split_recording
from sort_assets.recordings.probe_files import find_probe_file, probe_fingerprint
from sort_assets.testing.nwb import write_nwb
from sort_assets_tests.recordings.writers import write_intan, write_spikeglx

WITH_PROBE = RecordingConfig(probe_file="probe.json")


def column(channels: list[int], *, x: float = 0.0, units: str = "um") -> Probe:
    """Contacts one over the other, 20 micrometres apart, wired to these channels; -1 is not wired."""
    scale = {"um": 1.0, "mm": 1e-3}[units]
    probe = Probe(ndim=2, si_units=units)
    positions = np.array([[x, 20.0 * index] for index in range(len(channels))]) * scale
    probe.set_contacts(positions, shapes="circle", shape_params={"radius": 6 * scale})
    probe.set_device_channel_indices(channels)
    return probe


@pytest.fixture
def intan(short: BaseRecording, tmp_path: Path) -> Path:
    """A recording that says nothing of where its 16 channels are."""
    return write_intan(short, tmp_path / "recording.rhd")


def test_contacts_are_placed_at_the_channels_to_which_they_are_wired(intan: Path) -> None:
    wiring = np.random.default_rng(0).permutation(16).tolist()
    write_probeinterface(intan.parent / "probe.json", column(wiring))

    recording = open_recording(intan, config=WITH_PROBE)

    require_probe(recording, intan)
    assert recording.channel_ids.tolist() == open_recording(intan).channel_ids.tolist()
    np.testing.assert_array_equal(recording.get_channel_locations()[wiring, 1], 20.0 * np.arange(16))


def test_the_file_replaces_the_probe_of_the_recording(short: BaseRecording, tmp_path: Path) -> None:
    path = write_nwb(short, tmp_path / "recording.nwb")
    write_probeinterface(tmp_path / "probe.json", column(list(range(16)), x=77.0))

    recording = open_recording(path, config=WITH_PROBE)

    np.testing.assert_array_equal(recording.get_channel_locations()[:, 0], np.full(16, 77.0))


def test_channels_without_a_contact_are_left_out(intan: Path, short: BaseRecording) -> None:
    write_probeinterface(intan.parent / "probe.json", column([12, -1, 3, 7]))

    recording = open_recording(intan, config=WITH_PROBE)

    assert recording.channel_ids.tolist() == ["A-003", "A-007", "A-012"]
    np.testing.assert_array_equal(recording.get_channel_locations()[:, 1], [40.0, 60.0, 0.0])
    num_samples = recording.get_num_samples()
    expected = short.get_traces(end_frame=num_samples, return_in_uV=True)[:, [3, 7, 12]]
    np.testing.assert_allclose(recording.get_traces(return_in_uV=True), expected, atol=0.001)


def test_several_probes_are_told_apart_by_their_group(intan: Path) -> None:
    probes = ProbeGroup()
    probes.add_probe(column([0, 2, 4, 6]))
    probes.add_probe(column([1, 3, 5, 7]))
    write_probeinterface(intan.parent / "probe.json", probes)

    recording = open_recording(intan, config=WITH_PROBE)

    parts = split_recording(recording, "group")
    assert [part.channel_ids.tolist() for part in parts.values()] == [
        ["A-000", "A-002", "A-004", "A-006"],
        ["A-001", "A-003", "A-005", "A-007"],
    ]
    for part in parts.values():
        require_probe(part, intan)


def test_millimetres_become_micrometres(intan: Path) -> None:
    write_probeinterface(intan.parent / "probe.json", column(list(range(16)), units="mm"))

    recording = open_recording(intan, config=WITH_PROBE)

    np.testing.assert_allclose(recording.get_channel_locations()[:, 1], 20.0 * np.arange(16))
    assert recording.get_probe().to_dict()["contact_shape_params"][0]["radius"] == pytest.approx(6.0)


def test_every_file_of_a_folder_is_placed_on_the_probe(short: BaseRecording, tmp_path: Path) -> None:
    for name in ("part_1.rhd", "part_2.rhd"):
        write_intan(short, tmp_path / name)
    write_probeinterface(tmp_path / "probe.json", column([3, 2, 1, 0]))

    recording = open_recording(tmp_path, config=WITH_PROBE)

    assert recording.channel_ids.tolist() == ["A-000", "A-001", "A-002", "A-003"]
    np.testing.assert_array_equal(recording.get_channel_locations()[:, 1], [60.0, 40.0, 20.0, 0.0])
    assert recording.get_num_samples() == 2 * 59904


@pytest.mark.parametrize("where", [".", "..", "../.."])
def test_the_nearest_file_beside_or_above_the_recording_is_taken(where: str, tmp_path: Path) -> None:
    session = tmp_path / "mouse_3" / "session_1"
    session.mkdir(parents=True)
    (session / "recording.rhd").touch()
    (tmp_path / "probe.json").touch()
    (session / where / "probe.json").touch()

    found = find_probe_file(session / "recording.rhd", "probe.json")

    assert found.resolve() == (session / where / "probe.json").resolve()


def test_a_folder_that_is_a_recording_is_looked_into_first(tmp_path: Path) -> None:
    (tmp_path / "session").mkdir()
    (tmp_path / "probe.json").touch()
    (tmp_path / "session" / "probe.json").touch()

    assert find_probe_file(tmp_path / "session", "probe.json") == tmp_path / "session" / "probe.json"


def test_an_absolute_path_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "probes").mkdir()
    (tmp_path / "probes" / "tetrodes.json").touch()

    found = find_probe_file(tmp_path / "session" / "recording.rhd", str(tmp_path / "probes" / "tetrodes.json"))

    assert found == tmp_path / "probes" / "tetrodes.json"


@pytest.mark.parametrize("probe_file", ["probe.json", "/absent/probe.json"])
def test_a_file_that_is_not_there_is_missing(probe_file: str, intan: Path) -> None:
    with pytest.raises(MissingProbeError, match=r"probe file '.*probe\.json'.*correct recording\.probe_file"):
        open_recording(intan, config=RecordingConfig(probe_file=probe_file))


def test_a_prb_file_is_not_run(intan: Path) -> None:
    (intan.parent / "probe.prb").write_text(f"open({str(intan.parent / 'ran')!r}, 'w')")

    with pytest.raises(ConfigError, match=r"Python program, and is not run.*write_probeinterface\('probe\.json'"):
        open_recording(intan, config=RecordingConfig(probe_file="probe.prb"))

    assert not (intan.parent / "ran").exists()


def test_another_suffix_is_refused(intan: Path) -> None:
    with pytest.raises(ConfigError, match=r"does not end in \.json"):
        open_recording(intan, config=RecordingConfig(probe_file="probe.csv"))


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"specification": "probeinterface", "version": "0.3.0", "probes": [{}]}', "\0\1"]
)
def test_a_damaged_file_is_said_to_be_none(content: str, intan: Path) -> None:
    (intan.parent / "probe.json").write_text(content)

    with pytest.raises(ConfigError, match=r"probe\.json' can't be read as a probe file"):
        open_recording(intan, config=WITH_PROBE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probe_ids": ["one"]}, r"describes 2 probes, of which 1 can be read.*probe_ids"),
        ({"si_units": "km"}, r"si_units is 'km'.*one of: um, mm, m"),
    ],
)
def test_a_file_that_can_be_read_only_in_part_or_not_to_scale_is_refused(
    change: dict[str, object], message: str, intan: Path
) -> None:
    probes = ProbeGroup()
    probes.add_probe(column([0, 1]))
    probes.add_probe(column([2, 3], x=200.0))
    write_probeinterface(intan.parent / "probe.json", probes)
    described = json.loads((intan.parent / "probe.json").read_text())
    for part in (described, *described["probes"]):
        part.update({name: value for name, value in change.items() if name in part or part is described})
    (intan.parent / "probe.json").write_text(json.dumps(described))

    with pytest.raises(ConfigError, match=message):
        open_recording(intan, config=WITH_PROBE)


def test_a_file_without_a_probe_is_said_to_describe_none(intan: Path) -> None:
    write_probeinterface(intan.parent / "probe.json", ProbeGroup())

    with pytest.raises(MissingProbeError, match="describes no probe"):
        open_recording(intan, config=WITH_PROBE)


def test_a_probe_that_is_not_wired_is_refused(intan: Path) -> None:
    probe = column([0, 1])
    probe.device_channel_indices = None
    write_probeinterface(intan.parent / "probe.json", probe)

    with pytest.raises(MissingProbeError, match=r"does not say to which channel.*set_device_channel_indices"):
        open_recording(intan, config=WITH_PROBE)


def test_a_probe_without_a_wired_contact_is_refused(intan: Path) -> None:
    write_probeinterface(intan.parent / "probe.json", column([-1, -1]))

    with pytest.raises(MissingProbeError, match="wires no contact"):
        open_recording(intan, config=WITH_PROBE)


def test_a_probe_with_more_channels_than_the_recording_is_refused(intan: Path) -> None:
    write_probeinterface(intan.parent / "probe.json", column(list(range(32))))

    with pytest.raises(ProbeGeometryError, match=r"recording\.rhd', which has 16 channels.*16 of its 32 .* up to 31"):
        open_recording(intan, config=WITH_PROBE)


def test_two_contacts_on_one_channel_are_refused(intan: Path) -> None:
    write_probeinterface(intan.parent / "probe.json", column([0, 1, 2]))
    description = json.loads((intan.parent / "probe.json").read_text())
    description["probes"][0]["device_channel_indices"] = [0, 1, 1]
    (intan.parent / "probe.json").write_text(json.dumps(description))

    with pytest.raises(ProbeGeometryError, match="several contacts to each of these channels: 1"):
        open_recording(intan, config=WITH_PROBE)


@pytest.mark.parametrize("axes", ["xy", "xz", "yz"])
def test_a_probe_in_any_plane_is_laid_flat(axes: str, intan: Path) -> None:
    probe = column(list(range(16)))
    write_probeinterface(intan.parent / "probe.json", probe.to_3d(axes=axes))

    recording = open_recording(intan, config=WITH_PROBE)

    np.testing.assert_array_equal(recording.get_probe().contact_positions, probe.contact_positions)


def test_contacts_that_lie_in_no_plane_are_refused(intan: Path) -> None:
    probe = column(list(range(16))).to_3d()
    probe._contact_positions = np.random.default_rng(0).uniform(0, 100, (16, 3))
    write_probeinterface(intan.parent / "probe.json", probe)

    with pytest.raises(ConfigError, match=r"lie in no plane.*to_2d"):
        open_recording(intan, config=WITH_PROBE)


def test_the_fingerprint_changes_with_the_content_alone(tmp_path: Path) -> None:
    recording = tmp_path / "recording.rhd"
    write_probeinterface(tmp_path / "probe.json", column([0, 1]))
    write_probeinterface(tmp_path / "same.json", column([0, 1]))
    before = probe_fingerprint(recording, "probe.json")

    write_probeinterface(tmp_path / "probe.json", column([1, 0]))

    assert probe_fingerprint(recording, "same.json") == before
    assert probe_fingerprint(recording, "probe.json") != before


def test_one_probe_of_several_can_have_a_file_of_its_own(short: BaseRecording, tmp_path: Path) -> None:
    run = write_spikeglx({"imec0": short, "imec1": short}, tmp_path / "run_g0", lf=False)
    write_probeinterface(tmp_path / "probe_imec1.ap.json", column(list(range(16)), x=77.0))
    config = RecordingConfig(probe_file="probe_{stream}.json")

    own = open_recording(run, "imec0.ap", config)
    replaced = open_recording(run, "imec1.ap", config)

    np.testing.assert_array_equal(own.get_channel_locations(), short.get_channel_locations())
    np.testing.assert_array_equal(replaced.get_channel_locations()[:, 0], np.full(16, 77.0))
    assert probe_fingerprint(run, config.probe_file, "imec0.ap") is None
    assert probe_fingerprint(run, config.probe_file, "imec1.ap") is not None


def test_slashes_in_a_stream_s_name_are_none_in_the_file_s(short: BaseRecording, tmp_path: Path) -> None:
    path = write_nwb({"A": short, "B": short}, tmp_path / "day.nwb")
    write_probeinterface(tmp_path / "acquisition_B.json", column(list(range(16)), x=77.0))

    recording = open_recording(path, "acquisition/B", RecordingConfig(probe_file="{stream}.json"))

    np.testing.assert_array_equal(recording.get_channel_locations()[:, 0], np.full(16, 77.0))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_that_an_editor_saved_in_its_own_encoding_is_read(encoding: str, intan: Path) -> None:
    file = intan.parent / "probe.json"
    write_probeinterface(file, column([0, 1]))
    file.write_text(file.read_text(), encoding=encoding)

    assert open_recording(intan, config=WITH_PROBE).get_num_channels() == 2


def test_a_channel_that_is_no_whole_number_is_refused(intan: Path) -> None:
    file = intan.parent / "probe.json"
    write_probeinterface(file, column([0, 1]))
    described = json.loads(file.read_text())
    described["probes"][0]["device_channel_indices"] = [0.5, 1.0]
    file.write_text(json.dumps(described))

    with pytest.raises(ConfigError, match=r"0\.5 in device_channel_indices is no channel"):
        open_recording(intan, config=WITH_PROBE)
