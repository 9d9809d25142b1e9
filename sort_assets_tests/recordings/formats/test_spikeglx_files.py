"""Files that stand for the same samples, and those of the International Brain Laboratory's archive."""

import re
import time
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from mtscomp import Writer
from probeinterface import generate_linear_probe, write_probeinterface
from spikeinterface.core import BaseRecording, append_recordings
from spikeinterface.core import load as load_recording
from spikeinterface.extractors.cbin_ibl import CompressedBinaryIblExtractor

from sort_assets.config import RecordingConfig
from sort_assets.errors import (
    IncompatibleFilesError,
    MissingPluginError,
    UnknownFormatError,
    UnreadableRecordingError,
)
from sort_assets.recordings import boundaries, open_recording, sortable_streams
from sort_assets.recordings.completeness import missing_parts
from sort_assets.recordings.formats.spikeglx_other_bands import may_be_without_spikes
from sort_assets.recordings.formats.table import find_format
from sort_assets.recordings.headers import read_header
from sort_assets_tests.recordings.writers import write_spikeglx

RUN = "_spikeglx_ephysData_g0"
CHUNK_S = 0.25


def _compress(folder: Path) -> Path:
    """Compress the samples of all probes, as the archive does."""
    for samples in folder.rglob("*.ap.bin"):
        num_channels = int(re.search(r"nSavedChans=(\d+)", samples.with_suffix(".meta").read_text())[1])
        writer = Writer(quiet=True, n_threads=1, chunk_duration=CHUNK_S, check_after_compress=False)
        writer.open(samples, sample_rate=30_000.0, n_channels=num_channels, dtype="int16")
        writer.write(samples.with_suffix(".cbin"), samples.with_suffix(".ch"))
        writer.close()
        samples.unlink()
    return folder


def _identify(folder: Path) -> Path:
    """Give each file an identifier, as ONE does when it downloads them."""
    for file in [one for one in folder.rglob("*.ap.*") if one.is_file()]:
        file.rename(file.with_name(f"{file.stem}.{uuid4()}{file.suffix}"))
    return folder


def _export(folder: Path, *, original: bool) -> None:
    for file in folder.rglob("*.ap.*"):
        exported = file.with_name(file.name.replace("_t0.", "_t0.exported."))
        exported.write_bytes(file.read_bytes())
        if not original:
            file.unlink()


@pytest.mark.parametrize("identified", [False, True])
def test_compressed_samples_are_those_that_were_recorded(
    identified: bool, short: BaseRecording, tmp_path: Path
) -> None:
    run = write_spikeglx({"imec0": short, "imec1": short}, tmp_path / RUN, first_sample=15_000)
    plain = open_recording(run, "imec1.ap")
    traces, shifts = plain.get_traces(), plain.get_property("inter_sample_shift")
    _compress(run)
    _ = identified and _identify(run)

    recording = open_recording(run, "imec1.ap")

    np.testing.assert_array_equal(recording.get_traces(), traces)
    np.testing.assert_array_equal(recording.get_traces(start_frame=7400, end_frame=22_600), traces[7400:22_600])
    np.testing.assert_array_equal(load_recording(recording.to_dict()).get_traces(0, 0, 9), traces[:9])
    np.testing.assert_array_equal(recording.get_property("inter_sample_shift"), shifts)
    np.testing.assert_array_equal(recording.get_channel_locations(), short.get_channel_locations())
    assert recording.get_start_time() == pytest.approx(0.5)
    assert sortable_streams(run) == ("imec0.ap", "imec1.ap")


def test_a_compressed_run_is_read_as_spikeinterface_reads_it(short: BaseRecording, tmp_path: Path) -> None:
    probe_folder = _compress(write_spikeglx(short, tmp_path / RUN)) / f"{RUN}_imec0"

    recording = open_recording(probe_folder)

    reference = CompressedBinaryIblExtractor(probe_folder)
    np.testing.assert_array_equal(recording.get_traces(), reference.get_traces())
    np.testing.assert_allclose(recording.get_channel_gains(), reference.get_channel_gains())
    np.testing.assert_array_equal(recording.get_channel_locations(), reference.get_channel_locations())


def test_a_shank_that_was_cut_out_of_a_file_stands_at_its_own_place(short: BaseRecording, tmp_path: Path) -> None:
    """As ibl-neuropixel's NP2Converter writes the shanks of a probe: channels are counted anew."""
    probe_folder = write_spikeglx(short, tmp_path / RUN, part_number="NP2013") / f"{RUN}_imec0"
    whole = open_recording(probe_folder)
    (meta,) = probe_folder.glob("*.meta")
    text = meta.read_text()
    saved = re.search(r"snsSaveChanSubset=(.+)", text)[1]
    counted = f"snsSaveChanSubset=0:{short.get_num_channels()}\nsnsSaveChanSubset_orig={saved}"
    meta.write_text(text.replace(f"snsSaveChanSubset={saved}", counted).replace("~", ""))
    _compress(probe_folder)

    recording = open_recording(probe_folder)

    np.testing.assert_array_equal(recording.get_channel_locations(), whole.get_channel_locations())
    np.testing.assert_array_equal(recording.channel_ids, whole.channel_ids)
    np.testing.assert_allclose(recording.get_channel_gains(), whole.get_channel_gains())
    np.testing.assert_array_equal(recording.get_property("group"), whole.get_property("group"))


def test_of_samples_that_are_there_twice_the_uncompressed_are_read_and_that_is_said(
    short: BaseRecording, tmp_path: Path
) -> None:
    run = write_spikeglx(short, tmp_path / "run_g0")
    (samples,) = run.rglob("*.ap.bin")
    kept = samples.read_bytes()
    _compress(run)
    samples.write_bytes(kept)

    header = read_header(run, RecordingConfig())

    assert [stream.name for stream in header.streams] == ["imec0.ap"]
    assert header.left_out == (
        "'run_g0_t0.imec0.ap.cbin' holds the same samples as the .bin beside it, which is read.",
    )
    assert type(header).from_dict(header.to_dict()) == header


@pytest.mark.release
def test_triggers_of_which_one_is_compressed_are_one_recording(short: BaseRecording, tmp_path: Path) -> None:
    run = write_spikeglx(append_recordings([short, short]), tmp_path / "run_g0", first_sample=30_000)
    whole = open_recording(run)
    traces, starts = whole.get_traces(), [piece.start_time_s for piece in boundaries(whole)]
    (second,) = run.rglob("*_t1.imec0.ap.bin")
    kept = second.read_bytes()
    _compress(run)
    second.write_bytes(kept)
    for name in ("cbin", "ch"):
        second.with_suffix(f".{name}").unlink()

    recording = open_recording(run)

    np.testing.assert_array_equal(recording.get_traces(), traces)
    assert [piece.start_time_s for piece in boundaries(recording)] == starts


def test_a_compressed_file_that_is_cut_off_is_read_only_where_that_is_accepted(
    short: BaseRecording, tmp_path: Path
) -> None:
    run = write_spikeglx(short, tmp_path / "run_g0")
    traces = open_recording(run).get_traces()
    (samples,) = _compress(run).rglob("*.cbin")
    samples.write_bytes(samples.read_bytes()[:-10])

    with pytest.raises(UnreadableRecordingError, match=r"bytes, and its \.ch says.*accept_incomplete"):
        open_recording(run)
    recording = open_recording(run, config=RecordingConfig(accept_incomplete=True))

    assert recording.get_num_samples() == short.get_num_samples() - CHUNK_S * 30_000
    np.testing.assert_array_equal(recording.get_traces(), traces[: recording.get_num_samples()])
    assert "its .ch says" in missing_parts(recording)[0]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda header: header.unlink(), r"has no \.ch beside it"),
        (lambda header: header.write_text("{"), "can't be read"),
        (lambda header: header.write_text("{}"), "can't be read"),
        (lambda header: header.write_text(header.read_text().replace('"zlib"', '"other"')), "no whole header"),
        (lambda header: header.write_text(header.read_text().replace('"int16"', '"object"')), "of object"),
        (lambda header: header.write_text(header.read_text().replace("17,", "18,")), "describes 18 channels"),
    ],
)
def test_a_damaged_header_of_compressed_samples_is_refused(
    damage: object, message: str, short: BaseRecording, tmp_path: Path
) -> None:
    run = _compress(write_spikeglx(short, tmp_path / "run_g0"))
    (header,) = run.rglob("*.ch")
    damage(header)

    with pytest.raises(UnreadableRecordingError, match=message):
        open_recording(run)


def test_compressed_samples_name_the_package_where_it_is_not_installed(
    short: BaseRecording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _compress(write_spikeglx(short, tmp_path / "run_g0"))
    # Stands for an environment without the package.
    monkeypatch.setattr("sort_assets.recordings.formats.mtscomp_recording.find_spec", lambda name: None)  # noqa: ARG005

    with pytest.raises(MissingPluginError, match="pip install mtscomp"):
        open_recording(run)


def test_two_downloads_of_a_file_are_refused_by_name(short: BaseRecording, tmp_path: Path) -> None:
    run = _identify(write_spikeglx(short, tmp_path / RUN))
    (samples,) = run.rglob("*.ap.*.bin")
    samples.with_name(samples.name.replace(samples.name.split(".")[-2], str(uuid4()))).write_bytes(b"")

    with pytest.raises(IncompatibleFilesError, match=r"same gate and trigger twice.*Move one of the two"):
        open_recording(run)


def test_what_was_exported_beside_its_original_is_left_out_and_that_is_said(
    short: BaseRecording, tmp_path: Path
) -> None:
    run = write_spikeglx({"imec0": short, "imec1": short}, tmp_path / "run_g0")
    _export(run / "run_g0_imec0", original=True)

    header = read_header(run, RecordingConfig())

    assert [stream.name for stream in header.streams] == ["imec0.ap", "imec1.ap"]
    assert header.left_out == (
        "'run_g0_t0.exported.imec0.ap.bin' was exported from a file that lies beside it, which is read.",
    )


def test_what_was_exported_is_a_recording_where_there_is_no_original(short: BaseRecording, tmp_path: Path) -> None:
    run = write_spikeglx(short, tmp_path / "run_g0")
    _export(run, original=False)

    header = read_header(run, RecordingConfig())

    assert [stream.name for stream in header.streams] == ["imec0.ap"]
    assert header.left_out == ()


@pytest.mark.parametrize(("command", "aligned"), [("-ap -gblcar", True), ("-ap -no_tshift", False), (None, False)])
def test_channels_that_catgt_has_aligned_are_not_aligned_again(
    command: str | None, aligned: bool, short: BaseRecording, tmp_path: Path
) -> None:
    run = write_spikeglx(short, tmp_path / "run_g0")
    (meta,) = run.rglob("*.ap.meta")
    if command is not None:
        meta.write_text(f"{meta.read_text()}catGTCmdline0=<CatGT -run=run -g=0 -t=0 {command}>\n")

    shifts = open_recording(run).get_property("inter_sample_shift")

    assert (not shifts.any()) is aligned


def test_a_probe_with_its_own_file_stands_for_its_shanks(short: BaseRecording, tmp_path: Path) -> None:
    probes = {"imec2": short, "imec1020": short, "imec1021": short, "imec1030": short}

    header = read_header(write_spikeglx(probes, tmp_path / "run_g0", lf=False), RecordingConfig())

    assert [stream.name for stream in header.streams] == ["imec2.ap", "imec1030.ap"]
    assert header.left_out[0] == "The files of imec1020 hold a shank of imec2, whose own file is read."


def _remove(folder: Path, pattern: str) -> None:
    for file in folder.rglob(pattern):
        file.unlink()


@pytest.mark.parametrize("beside", [{"run_g0_imec0"}, {"probe00"}, {"run_g0_t0.imec0.ap.cbin"}])
def test_other_signals_beside_a_probe_are_no_matter(beside: set[str]) -> None:
    name = "run_g0_t0.nidq.meta"

    assert may_be_without_spikes(name, {name, "run_g0_t0.nidq.bin"})
    assert not may_be_without_spikes(name, {name, "run_g0_t0.nidq.bin", *beside})
    assert not may_be_without_spikes("run_g0_t1.nidq.meta", {name, "run_g0_t1.nidq.meta"})


def test_thousands_of_triggers_without_a_probe_are_one_line_and_quickly_told() -> None:
    names = {f"run_g0_t{trigger}.nidq.meta" for trigger in range(5000)}

    started = time.process_time()
    told = [name for name in names if may_be_without_spikes(name, names)]

    assert told == ["run_g0_t0.nidq.meta"]
    assert time.process_time() - started < 2.0


def test_a_run_without_probes_says_what_it_holds_and_how_electrodes_are_read_from_it(
    short: BaseRecording, tmp_path: Path
) -> None:
    run = write_spikeglx(short, tmp_path / "run_g0", folder_per_probe=False, nidq=True)
    _remove(run, "*.imec0.*")

    with pytest.raises(UnknownFormatError, match=r"no Neuropixels probe.*recording\.reader to spikeglx"):
        read_header(run, RecordingConfig())
    with pytest.raises(UnreadableRecordingError, match="National Instruments"):
        find_format(run / "run_g0_t0.nidq.meta")


def test_electrodes_of_a_national_instruments_device_are_read_as_the_remedy_says(tmp_path: Path) -> None:
    run = tmp_path / "whisper_g0"
    run.mkdir()
    counts = np.arange(4000 * 6, dtype="int16").reshape(-1, 6) % 777
    counts.tofile(run / "whisper_g0_t0.nidq.bin")
    fields = {
        "acqMnMaXaDw": "4,0,1,1",
        "fileName": "D:/whisper_g0_t0.nidq.bin",
        "fileSizeBytes": counts.nbytes,
        "fileTimeSecs": 4000 / 25_000,
        "firstSample": 0,
        "nSavedChans": 6,
        "niAiRangeMax": 5,
        "niMAGain": 1,
        "niMNGain": 200,
        "niMuxFactor": 4,
        "niSampRate": 25_000,
        "snsMnMaXaDw": "4,0,1,1",
        "snsSaveChanSubset": "all",
        "typeThis": "nidq",
        "~snsChanMap": "(4,0,1,1,1)(MN0C0;0:0)(MN0C1;1:1)(MN0C2;2:2)(MN0C3;3:3)(XA0;4:4)(XD0;5:5)",
    }
    (run / "whisper_g0_t0.nidq.meta").write_text("".join(f"{name}={value}\n" for name, value in fields.items()))
    probe = generate_linear_probe(num_elec=4)
    probe.set_device_channel_indices(np.arange(4))
    write_probeinterface(tmp_path / "probe.json", probe)
    config = RecordingConfig(
        reader="spikeglx", arguments={"stream_id": "nidq"}, probe_file=str(tmp_path / "probe.json")
    )

    recording = open_recording(run, config=config)

    np.testing.assert_array_equal(recording.get_traces(), counts[:, :4])
    np.testing.assert_allclose(recording.get_channel_gains(), 5e6 / 2**15 / 200)


@pytest.mark.parametrize("folder_per_probe", [True, False])
def test_a_run_of_which_only_field_potentials_were_kept_says_so(
    folder_per_probe: bool, short: BaseRecording, tmp_path: Path
) -> None:
    run = write_spikeglx(short, tmp_path / "run_g0", folder_per_probe=folder_per_probe)
    _remove(run, "*.ap.*")

    with pytest.raises((UnknownFormatError, UnreadableRecordingError), match=r"local field potentials.*Copy the \.ap"):
        read_header(run, RecordingConfig())
