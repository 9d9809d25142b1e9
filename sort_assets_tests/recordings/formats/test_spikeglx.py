import os
import re
from pathlib import Path

import numpy as np
import pytest
from probeinterface import generate_linear_probe, write_probeinterface
from spikeinterface.core import BaseRecording, append_recordings
from spikeinterface.extractors import read_spikeglx

from sort_assets.config import RecordingConfig
from sort_assets.errors import (
    IncompatibleFilesError,
    MissingProbeError,
    RecordingError,
    StreamError,
    UnknownFormatError,
    UnreadableRecordingError,
)
from sort_assets.recordings import boundaries, open_recording, recognise, sortable_streams
from sort_assets.recordings.clock import recording_clock
from sort_assets.recordings.formats.spikeglx import open_spikeglx
from sort_assets.recordings.formats.spikeglx_files import may_be_spikeglx_folder
from sort_assets_tests.recordings.files import cut_second_half, recording_of
from sort_assets_tests.recordings.writers import write_spikeglx

AP_GAIN_TO_UV = 0.6e6 / 512 / 500
BYTES_PER_SAMPLE = 2 * 17


def _louder(short: BaseRecording) -> BaseRecording:
    return recording_of((2 * short.get_traces()).astype("int16"), short)


def _file(folder: Path, ending: str, *, probe: str = "imec0", trigger: int = 0) -> Path:
    (path,) = folder.rglob(f"*_t{trigger}.{probe}.ap.{ending}")
    return path


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_samples_in_microvolts_and_locations_are_those_written(short: BaseRecording, tmp_path: Path) -> None:
    recording = open_recording(write_spikeglx(short, tmp_path / "run_g0"))

    assert recording.dtype == np.int16
    np.testing.assert_allclose(
        recording.get_traces(return_in_uV=True), short.get_traces(return_in_uV=True), atol=AP_GAIN_TO_UV / 2 + 0.01
    )
    np.testing.assert_array_equal(recording.get_channel_locations(), short.get_channel_locations())


@pytest.mark.parametrize("part_number", ["NP1000", "NP1015", "NP2013"])
def test_a_run_is_read_as_spikeinterface_reads_it(part_number: str, short: BaseRecording, tmp_path: Path) -> None:
    folder = write_spikeglx(short, tmp_path / "run_g0", part_number=part_number, first_sample=90001, nidq=True)

    recording = open_recording(folder)

    reference = read_spikeglx(folder, stream_id="imec0.ap")
    np.testing.assert_array_equal(recording.channel_ids, reference.channel_ids)
    np.testing.assert_array_equal(recording.get_traces(), reference.get_traces())
    np.testing.assert_allclose(recording.get_channel_gains(), reference.get_channel_gains())
    np.testing.assert_array_equal(recording.get_channel_locations(), reference.get_channel_locations())
    for name in ("group", "inter_sample_shift", "channel_name"):
        np.testing.assert_array_equal(recording.get_property(name), reference.get_property(name))
    assert recording.get_start_time() == pytest.approx(reference.get_start_time())
    assert recording.get_start_time() == pytest.approx(90001 / 30000)


def test_each_probe_is_a_stream_and_other_signals_are_none(short: BaseRecording, tmp_path: Path) -> None:
    louder = _louder(short)
    folder = write_spikeglx({"imec0": short, "imec10": short, "imec2": louder}, tmp_path / "run_g0", nidq=True)

    assert sortable_streams(folder) == ("imec0.ap", "imec2.ap", "imec10.ap")
    opened = open_recording(folder, "imec2.ap").get_traces(return_in_uV=True)
    np.testing.assert_allclose(opened, louder.get_traces(return_in_uV=True), atol=AP_GAIN_TO_UV / 2 + 0.01)


@pytest.mark.parametrize("stream", [None, "imec0.lf", "imec7.ap", "nidq"])
def test_a_stream_error_lists_the_probes(stream: str | None, short: BaseRecording, tmp_path: Path) -> None:
    folder = write_spikeglx({"imec0": short, "imec1": short}, tmp_path / "run_g0", nidq=True)

    with pytest.raises(StreamError, match=r"imec0\.ap, imec1\.ap"):
        open_recording(folder, stream)


def test_all_files_may_lie_in_one_folder(short: BaseRecording, tmp_path: Path) -> None:
    folder = write_spikeglx({"imec0": short, "imec1": short}, tmp_path / "run_g0", folder_per_probe=False)

    assert sortable_streams(folder) == ("imec0.ap", "imec1.ap")
    assert open_recording(folder, "imec1.ap").get_num_samples() == short.get_num_samples()


def test_the_folder_of_one_probe_is_a_recording(short: BaseRecording, tmp_path: Path) -> None:
    folder = write_spikeglx({"imec0": short, "imec1": short}, tmp_path / "run_g0") / "run_g0_imec1"

    assert recognise(folder).name == "spikeglx"
    assert sortable_streams(folder) == ("imec1.ap",)
    assert open_recording(folder).channel_ids[0] == "imec1.ap#AP0"


def test_every_channel_has_the_gain_of_its_own_site(short: BaseRecording, tmp_path: Path) -> None:
    folder = write_spikeglx(short, tmp_path / "run_g0")
    # The second saved channel is readout channel 3; readout channel 1 is not saved.
    _edit(_file(folder, "meta"), "(3 0 0 500 250 1)", "(3 0 0 1000 250 1)")
    _edit(_file(folder, "meta"), "(1 0 0 500 250 1)", "(1 0 0 50 250 1)")

    gains = open_recording(folder).get_channel_gains()

    np.testing.assert_allclose(gains[:3] / AP_GAIN_TO_UV, [1, 0.5, 1])


def test_a_run_without_the_sync_channel_is_read(short: BaseRecording, tmp_path: Path) -> None:
    recording = open_recording(write_spikeglx(short, tmp_path / "run_g0", sync=False))

    assert recording.get_num_channels() == 16
    np.testing.assert_allclose(recording.get_channel_gains(), AP_GAIN_TO_UV)


def test_shanks_are_groups(short: BaseRecording, tmp_path: Path) -> None:
    spread = recording_of(short.get_traces(), short)
    locations = [[250.0 * (channel // 4), 60.0 * (channel % 4)] for channel in range(16)]
    spread.set_dummy_probe_from_locations(np.array(locations), axes="xy")

    recording = open_recording(write_spikeglx(spread, tmp_path / "run_g0", part_number="NP2014"))

    np.testing.assert_array_equal(np.bincount(recording.get_channel_groups().astype(int)), [4, 4, 4, 4])
    written = {tuple(location) for location in locations}
    assert {tuple(location) for location in recording.get_channel_locations().tolist()} == written


def test_triggers_are_joined_and_keep_their_times(short: BaseRecording, tmp_path: Path) -> None:
    folder = write_spikeglx(append_recordings([short, _louder(short)]), tmp_path / "run_g0", first_sample=30000)

    recording = open_recording(folder)

    assert [piece.start_time_s for piece in boundaries(recording)] == pytest.approx([1.0, 4.0])
    second = recording.get_traces(start_frame=short.get_num_samples(), return_in_uV=True)
    np.testing.assert_allclose(second, 2 * short.get_traces(return_in_uV=True), atol=AP_GAIN_TO_UV / 2 + 0.01)


def test_what_catgt_joined_stands_for_all_triggers(short: BaseRecording, tmp_path: Path) -> None:
    folder = write_spikeglx(append_recordings([short, short]), tmp_path / "run_g0")
    for ending in ("bin", "meta"):
        joined = _file(folder, ending, trigger=0)
        joined.rename(joined.with_name(joined.name.replace("_t0", "_tcat")))

    recording = open_recording(folder)

    assert recording.get_num_samples() == short.get_num_samples()


def test_a_probe_that_lacks_a_trigger_does_not_keep_others_from_opening(short: BaseRecording, tmp_path: Path) -> None:
    two_triggers = append_recordings([short, short])
    folder = write_spikeglx({"imec0": two_triggers, "imec1": two_triggers}, tmp_path / "run_g0")
    for ending in ("bin", "meta"):
        _file(folder, ending, probe="imec1", trigger=1).unlink()

    assert open_spikeglx(folder, "imec0.ap", RecordingConfig()).get_num_segments() == 2
    assert open_spikeglx(folder, "imec1.ap", RecordingConfig()).get_num_segments() == 1


def test_shanks_in_files_of_their_own_are_streams_and_their_probe_is_none(short: BaseRecording, tmp_path: Path) -> None:
    probes = {"imec1020": short, "imec1021": short, "imec3": short}
    folder = write_spikeglx(probes, tmp_path / "run_g0", folder_per_probe=False, lf=False)
    meta = _file(folder, "meta", probe="imec1020")
    meta.with_name(meta.name.replace("imec1020", "imec2")).write_text(meta.read_text())
    _file(folder, "bin", probe="imec3").unlink()

    assert sortable_streams(folder) == ("imec3.ap", "imec1020.ap", "imec1021.ap")
    with pytest.raises(StreamError, match=r"1 can't be read.*one of: imec1020\.ap, imec1021\.ap\.$"):
        open_recording(folder)


def test_triggers_with_other_settings_are_refused(short: BaseRecording, tmp_path: Path) -> None:
    folder = write_spikeglx(append_recordings([short, short]), tmp_path / "run_g0")
    _edit(_file(folder, "meta", trigger=1), "imSampRate=30000", "imSampRate=25000")

    with pytest.raises(IncompatibleFilesError, match="imSampRate differs"):
        open_recording(folder)


def test_the_files_of_several_runs_in_one_folder_are_refused(short: BaseRecording, tmp_path: Path) -> None:
    for run in ("first", "second"):
        write_spikeglx(short, tmp_path / "day", run=run, folder_per_probe=False)

    with pytest.raises(IncompatibleFilesError, match=r"first, second.*a folder of its own"):
        open_recording(tmp_path / "day")


def test_a_second_copy_of_a_file_is_refused(short: BaseRecording, tmp_path: Path) -> None:
    folder = write_spikeglx(short, tmp_path / "run_g0")
    write_spikeglx(short, folder, folder_per_probe=False)

    with pytest.raises(IncompatibleFilesError, match="the same gate and trigger twice"):
        open_recording(folder)


def test_what_a_mac_adds_to_a_shared_folder_is_no_file_of_the_run(short: BaseRecording, tmp_path: Path) -> None:
    folder = write_spikeglx(short, tmp_path / "run_g0")
    samples = _file(folder, "bin")
    samples.with_name(f"._{samples.name}").write_bytes(b"Mac OS X")

    assert open_recording(folder).get_num_samples() == short.get_num_samples()


@pytest.mark.parametrize("removed", [BYTES_PER_SAMPLE * 1000, 7])
def test_a_truncated_file_is_refused(removed: int, short: BaseRecording, tmp_path: Path) -> None:
    folder = write_spikeglx(short, tmp_path / "run_g0")
    samples = _file(folder, "bin")
    os.truncate(samples, samples.stat().st_size - removed)

    with pytest.raises(UnreadableRecordingError, match=r"imec0\.ap\.bin' is truncated.*Copy the recording again"):
        open_recording(folder)


def test_a_file_longer_than_its_description_is_refused(short: BaseRecording, tmp_path: Path) -> None:
    folder = write_spikeglx(short, tmp_path / "run_g0")
    samples = _file(folder, "bin")
    samples.write_bytes(samples.read_bytes() + bytes(BYTES_PER_SAMPLE))

    with pytest.raises(UnreadableRecordingError, match="does not belong to its"):
        open_recording(folder)


@pytest.mark.parametrize(
    ("lost", "message"), [("meta", r"has no \.meta beside it"), ("bin", r"has no \.bin beside it")]
)
def test_a_file_without_its_other_half_is_refused(
    lost: str, message: str, short: BaseRecording, tmp_path: Path
) -> None:
    folder = write_spikeglx(short, tmp_path / "run_g0")
    _file(folder, lost).unlink()

    with pytest.raises(UnreadableRecordingError, match=message):
        open_recording(folder)


def test_a_meta_file_of_random_bytes_is_refused(short: BaseRecording, tmp_path: Path) -> None:
    folder = write_spikeglx(short, tmp_path / "run_g0")
    _file(folder, "meta").write_bytes(np.random.default_rng(0).bytes(5000))

    with pytest.raises(UnreadableRecordingError, match=r"imec0\.ap\.meta"):
        open_recording(folder)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("nSavedChans=17\n", "\n"),
        ("nSavedChans=17", "nSavedChans=many"),
        ("nSavedChans=17", "nSavedChans=0"),
        ("nSavedChans=17", "nSavedChans=34"),
        ("(29 0 0 500 250 1)", ""),
        ("imSampRate=30000", "imSampRate="),
    ],
)
def test_a_damaged_meta_file_is_refused(old: str, new: str, short: BaseRecording, tmp_path: Path) -> None:
    folder = write_spikeglx(short, tmp_path / "run_g0")
    _edit(_file(folder, "meta"), old, new)

    with pytest.raises(UnreadableRecordingError, match=r"imec0\.ap\.(meta|bin)"):
        open_recording(folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("imSampRate", "30 000"),
        ("imSampRate", "1e12"),
        ("nSavedChans", "17.5"),
        ("snsApLfSy", "16,none,1"),
        ("snsApLfSy", "0,16,1"),
        ("snsSaveChanSubset", "0:x"),
        ("snsSaveChanSubset", "0:999999999"),
        ("firstSample", "-1"),
        ("fileSizeBytes", "nan"),
        ("imAiRangeMax", "-0.6"),
        ("imAiRangeMax", "0,6"),
        ("imMaxInt", "0"),
    ],
)
def test_nonsense_in_a_field_is_told_with_its_name_and_value(
    field: str, value: str, short: BaseRecording, tmp_path: Path
) -> None:
    folder = write_spikeglx(short, tmp_path / "run_g0")
    meta = _file(folder, "meta")
    meta.write_text(re.sub(rf"^{field}=.*$", f"{field}={value}", meta.read_text(), flags=re.MULTILINE))

    with pytest.raises(
        UnreadableRecordingError,
        match=rf"(?s)imec0\.ap\.meta.*(states|contradicts|lists).*{field}.*Remedy: (Put back|Correct)",
    ) as raised:
        open_recording(folder)

    assert "Error:" not in raised.value.message


def test_a_gain_that_somebody_states_stands_for_nonsense_in_the_file(short: BaseRecording, tmp_path: Path) -> None:
    folder = write_spikeglx(short, tmp_path / "run_g0")
    _edit(_file(folder, "meta"), "imAiRangeMax=0.6", "imAiRangeMax=?")

    with pytest.raises(UnreadableRecordingError, match=r"states '\?' as imAiRangeMax"):
        open_recording(folder)
    recording = open_recording(folder, config=RecordingConfig(gain_to_uv=2.0))

    np.testing.assert_array_equal(recording.get_channel_gains(), 2.0)


def test_a_part_number_that_nobody_knows_needs_no_table_where_the_file_says_all(
    short: BaseRecording, tmp_path: Path
) -> None:
    folder = write_spikeglx(short, tmp_path / "run_g0")
    _edit(_file(folder, "meta"), "imDatPrb_pn=NP1015", "imDatPrb_pn=NP9999\nimChan0apGain=500")

    recording = open_recording(folder)

    from_edge_um = np.array([27.0, 0.0])  # the file counts from the shank's edge, probeinterface from the first site
    np.testing.assert_array_equal(recording.get_channel_locations() - from_edge_um, short.get_channel_locations())
    np.testing.assert_allclose(recording.get_channel_gains(), AP_GAIN_TO_UV)


def test_a_probe_that_can_t_be_read_is_refused_unless_a_probe_file_stands_for_it(
    short: BaseRecording, tmp_path: Path
) -> None:
    folder = write_spikeglx(short, tmp_path / "run_g0")
    _edit(_file(folder, "meta"), "imDatPrb_pn=NP1015", "imDatPrb_pn=NP9999")
    _edit(_file(folder, "meta"), "snsGeomMap", "other")
    probe = generate_linear_probe(12)
    probe.set_device_channel_indices(np.arange(12))
    write_probeinterface(tmp_path / "probe.json", probe)

    with pytest.raises(MissingProbeError, match=r"imec0\.ap\.meta.*recording\.probe_file"):
        open_recording(folder)
    recording = open_recording(folder, config=RecordingConfig(probe_file="probe.json", gain_to_uv=2.34))

    np.testing.assert_array_equal(recording.get_channel_locations(), probe.contact_positions)


def test_a_gain_that_nothing_states_is_asked_for(short: BaseRecording, tmp_path: Path) -> None:
    folder = write_spikeglx(short, tmp_path / "run_g0")
    _edit(_file(folder, "meta"), "imDatPrb_pn=NP1015", "imDatPrb_pn=NP9999")

    with pytest.raises(RecordingError, match=r"imChan0apGain.*recording\.gain_to_uv"):
        open_recording(folder)
    recording = open_recording(folder, config=RecordingConfig(gain_to_uv=2.0))

    np.testing.assert_array_equal(recording.get_channel_gains(), 2.0)


def test_half_a_meta_file_is_refused(short: BaseRecording, tmp_path: Path) -> None:
    folder = write_spikeglx(short, tmp_path / "run_g0")
    cut_second_half(_file(folder, "meta"))

    with pytest.raises(UnreadableRecordingError, match=r"imec0\.ap\.meta' is damaged or"):
        open_recording(folder)


@pytest.mark.parametrize(
    ("name", "entries", "expected"),
    [
        ("run_g0", {"run_g0_imec0", "run_g0_imec1", "run_g0_t0.nidq.bin"}, True),
        ("mouse 1", {"run_g0_imec0", "run_g0_imec1"}, True),
        ("catgt_run_g0", {"run_g0_imec0", "run_g0_ct_offsets.txt"}, True),
        ("run_g0_imec0", {"run_g0_t0.imec0.ap.bin", "run_g0_t0.imec0.ap.meta"}, True),
        ("probe00", {"_spikeglx_ephysData_g0_t0.imec0.ap.cbin"}, True),
        ("probe00", {"_spikeglx_ephysData_g0_t0.imec0.ap.0f9ca5d2-1b7e-4f6a-9c3d-2a4b6c8d0e1f.ch"}, True),
        ("renamed", {"run.imec.ap.bin", "run.imec.ap.meta"}, True),
        ("day1", {"run_g0", "run_g1"}, False),
        ("day1", {"run_g0", "catgt_run_g0"}, False),
        ("day1", {"first_g0_imec0", "second_g0_imec0"}, False),
        ("day1", {"run_g0", "stray_g0_t0.imec0.ap.bin"}, False),
        ("behaviour", {"run_g0_t0.nidq.bin", "run_g0_t0.nidq.meta"}, False),
        ("lfp", {"run_g0_t0.imec0.lf.bin", "run_g0_t0.imec0.lf.meta"}, False),
    ],
)
def test_names_tell_a_run_from_a_folder_of_runs(name: str, entries: set[str], expected: bool) -> None:
    assert may_be_spikeglx_folder(name, entries) is expected


def test_a_folder_of_probe_folders_without_samples_is_no_recording(tmp_path: Path) -> None:
    (tmp_path / "run_g0" / "run_g0_imec0").mkdir(parents=True)

    with pytest.raises(UnknownFormatError):
        recognise(tmp_path / "run_g0")


def test_triggers_that_overlap_hold_each_moment_once(short: BaseRecording, tmp_path: Path) -> None:
    first, second = short.frame_slice(0, 40_000), short.frame_slice(30_000, 60_000)
    run = write_spikeglx(append_recordings([first, second]), tmp_path / "run_g0", first_sample=30_000)
    for meta, start in zip(sorted(run.rglob("*.ap.meta")), (30_000, 60_000), strict=True):
        meta.write_text(re.sub(r"firstSample=\d+", f"firstSample={start}", meta.read_text()))

    recording = open_recording(run)

    clock = recording_clock(recording)
    assert recording.get_num_samples() == 60_000
    assert clock.jumps == ()
    assert clock.times_s(59_999) == pytest.approx(89_999 / 30_000)
    around = {"start_frame": 35_000, "end_frame": 50_000, "return_in_uV": True}
    np.testing.assert_allclose(recording.get_traces(**around), short.get_traces(**around), atol=5.0)


def test_notes_in_the_encoding_of_the_acquisition_computer_are_no_reason_to_refuse(
    short: BaseRecording, tmp_path: Path
) -> None:
    folder = write_spikeglx(short, tmp_path / "run_g0")
    meta = _file(folder, "meta")
    meta.write_bytes(meta.read_bytes().replace(b"userNotes=", "userNotes=Größe 5 µm".encode("latin-1")))

    recording = open_recording(folder)

    np.testing.assert_array_equal(recording.get_channel_locations(), short.get_channel_locations())


def test_a_probe_file_stands_for_sites_that_can_t_be_read(short: BaseRecording, tmp_path: Path) -> None:
    folder = write_spikeglx(short, tmp_path / "run_g0")
    meta = _file(folder, "meta")
    _edit(meta, "imDatPrb_pn=NP1015", "imDatPrb_pn=NP9999\nimChan0apGain=500")
    meta.write_text(re.sub(r"snsGeomMap=.*", "snsGeomMap=(NP9999,1,0,70)(0:left:20:1)", meta.read_text()))
    write_probeinterface(tmp_path / "probe.json", short.get_probe())

    with pytest.raises(MissingProbeError, match=r"snsGeomMap.*recording\.probe_file"):
        open_recording(folder)
    recording = open_recording(folder, config=RecordingConfig(probe_file="probe.json"))

    np.testing.assert_array_equal(recording.get_channel_locations(), short.get_channel_locations())
