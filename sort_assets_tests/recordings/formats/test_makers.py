"""Makers' formats that are read through SpikeInterface: what was written is what is opened, prepared and registered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from probeinterface import generate_linear_probe, write_probeinterface
from spikeinterface import load

from sort_assets.config import RecordingConfig
from sort_assets.errors import MissingProbeError, RecordingError, UnreadableRecordingError
from sort_assets.recordings import boundaries, open_recording, prepare, recognise
from sort_assets.recordings.clock import recording_clock
from sort_assets.recordings.formats.makers_clocks import clock_from_packet_numbers
from sort_assets.recordings.sample_numbers import clock_from_numbers
from sort_assets_tests.recordings.writers import makers

NUM_CHANNELS = 4


@dataclass(frozen=True)
class Maker:
    """How a recording is written, and what it is then.

    Attributes
    ----------
    gain_uv : float or None
        Microvolts of a count; None where the file does not say.
    """

    write: Callable[..., Path]
    file_name: str
    gain_uv: float | None
    start_s: float = 0.0
    rate_hz: float = makers.RATE_HZ
    block: int = 1
    zero: int = 0


MAKERS = {
    "blackrock": Maker(makers.write_blackrock, "day1.ns5", 0.25),
    "neuralynx": Maker(makers.write_neuralynx, "session", 0.0305, start_s=5.0, block=512),
    "plexon": Maker(makers.write_plexon, "day1.plx", 5e6 / (2**15 * 1000), start_s=0.1, rate_hz=40000.0, block=100),
    "spikegadgets": Maker(makers.write_spikegadgets, "day1.rec", 0.195, start_s=0.3),
    "biocam": Maker(makers.write_biocam, "chip.brw", 8250.0 / 4096, zero=2048),
    "mcsraw": Maker(makers.write_mcs_raw, "mea.raw", 0.25, zero=32768),
    "mcsh5": Maker(makers.write_mcs_hdf5, "mea.h5", 0.059605, start_s=0.001, rate_hz=20000.0),
    "spike2": Maker(makers.write_spike2, "slice.smr", 1e6 * 0.002 / 6553.6, rate_hz=25000.0),
    "neuroscope": Maker(makers.write_neuroscope, "rat.dat", 20e6 / 2**16 / 1000),
    "tdt": Maker(makers.write_tdt, "Block-1", None, start_s=0.5, block=256),
    "tdt-sev": Maker(partial(makers.write_tdt, sev=True), "Block-1", None, start_s=0.5, block=256),
    "open_ephys_legacy": Maker(makers.write_open_ephys_legacy, "2016-03-01_10-00-00", 0.195, start_s=0.2, block=1024),
    "axona": Maker(makers.write_axona, "rat.bin", 1000 * 1500 / (5000 * 2**15), rate_hz=48000.0, block=3),
    "neuronexus": Maker(makers.write_neuronexus, "mouse_data.xdat", 1.0, start_s=0.1),
    "alphaomega": Maker(makers.write_alphaomega, "day1", 38.147 / 20, start_s=2.0, rate_hz=44000.0, block=100),
    "nix": Maker(makers.write_nix, "slice.nix", 1.0, start_s=2.0),
    "edf": Maker(makers.write_edf, "slice.edf", 0.1),
}


@pytest.fixture(scope="module")
def counts() -> np.ndarray:
    """0.5 s of noise in counts, shape (15000, 4), int16."""
    rng = np.random.default_rng(1)
    return rng.normal(0, 60, (15000, NUM_CHANNELS)).round().astype(np.int16)


@pytest.fixture
def probe_file(tmp_path: Path) -> str:
    """A probe of four electrodes in a line, wired in order."""
    probe = generate_linear_probe(num_elec=NUM_CHANNELS, ypitch=20)
    probe.set_device_channel_indices(np.arange(NUM_CHANNELS))
    write_probeinterface(tmp_path / "probe.json", probe)
    return str(tmp_path / "probe.json")


@pytest.mark.parametrize("name", MAKERS)
def test_what_was_written_is_read_and_prepared(name: str, counts: np.ndarray, probe_file: str, tmp_path: Path) -> None:
    maker = MAKERS[name]
    path = maker.write(counts, tmp_path / maker.file_name)
    expected = counts[: len(counts) // maker.block * maker.block]
    config = RecordingConfig(probe_file=probe_file, gain_to_uv=None if maker.gain_uv else 0.5, bad_channels="none")

    recording = open_recording(path, config=config)
    prepared = prepare(recording, config.model_copy(update={"freq_min": None, "freq_max": None}))

    assert recognise(path).name == name.partition("-")[0]
    assert recording.sampling_frequency == pytest.approx(maker.rate_hz)
    assert recording.get_start_time() == pytest.approx(maker.start_s)
    assert not recording_clock(recording).jumps
    np.testing.assert_array_equal(recording.get_traces().astype(int), expected.astype(int) + maker.zero)
    if maker.gain_uv is not None:
        np.testing.assert_allclose(recording.get_channel_gains(), maker.gain_uv, rtol=1e-4)
    again = load(recording.to_dict(include_properties=True))  # as another process does
    np.testing.assert_array_equal(
        again.get_traces(channel_ids=again.channel_ids[[2, 1]]), recording.get_traces()[:, [2, 1]]
    )
    np.testing.assert_allclose(prepared.get_traces(), expected * (maker.gain_uv or 0.5), rtol=1e-4, atol=0.06)


@pytest.mark.parametrize(
    ("write", "file_name", "jump_at", "missing"),
    [
        (partial(makers.write_blackrock, pauses=((6000, 9000),)), "day1.ns5", 6000, 3000),
        (partial(makers.write_neuralynx, gap_before_record=10, gap_us=2000), "session", 5120, 60),
        (partial(makers.write_neuralynx, gap_before_record=10, gap_us=1000000), "session", 5120, 30000),
        (partial(makers.write_plexon, gap_before_block=50, gap_ticks=4000), "day1.plx", 5000, 4000),
        (partial(makers.write_spikegadgets, lost_before=7000, lost=12), "day1.rec", 7000, 12),
        (partial(makers.write_mcs_hdf5, gap_before=8000, gap_us=50000), "mea.h5", 8000, 1000),
        (partial(makers.write_spike2, pause_before=5000, pause=40000), "slice.smr", 5000, 10000),
        (partial(makers.write_tdt, gap_before_block=20, gap_s=0.1), "Block-1", 5120, 3000),
        (partial(makers.write_open_ephys_legacy, lost_before_record=5, lost_records=3), "old", 5120, 3072),
        (partial(makers.write_neuronexus, lost_before=9000, lost=33), "mouse_data.xdat", 9000, 33),
    ],
)
def test_what_was_not_recorded_is_a_jump_of_the_clock_and_the_samples_stay(
    write: Callable[..., Path], file_name: str, jump_at: int, missing: int, counts: np.ndarray, tmp_path: Path
) -> None:
    path = write(counts, tmp_path / file_name)

    recording = open_recording(path, config=RecordingConfig(gain_to_uv=0.5))

    assert [(jump.sample, jump.samples) for jump in recording_clock(recording).jumps] == [(jump_at, missing)]
    read = recording.get_traces()[jump_at - 100 : jump_at + 100].astype(int)
    np.testing.assert_array_equal(read, counts[jump_at - 100 : jump_at + 100])


@pytest.mark.parametrize(
    ("write", "file_name"),
    [
        (makers.write_tdt, "Block-1"),
        (partial(makers.write_spikegadgets, scaled=False), "day1.rec"),
        (partial(makers.write_spike2, unit=b"pA"), "slice.smr"),
    ],
)
def test_a_file_that_states_no_microvolts_asks_for_them(
    write: Callable[..., Path], file_name: str, counts: np.ndarray, tmp_path: Path
) -> None:
    path = write(counts, tmp_path / file_name)

    with pytest.raises(RecordingError, match=r"Set recording\.gain_to_uv"):
        open_recording(path)


@pytest.mark.parametrize(
    "name", ["neuralynx", "plexon", "spikegadgets", "mcsraw", "neuroscope", "axona", "open_ephys_legacy"]
)
def test_a_file_that_ends_within_a_sample_is_refused(name: str, counts: np.ndarray, tmp_path: Path) -> None:
    maker = MAKERS[name]
    path = maker.write(counts, tmp_path / maker.file_name)
    last: Any = sorted(path.iterdir())[-1] if path.is_dir() else path
    last.write_bytes(last.read_bytes()[:-3])

    with pytest.raises(UnreadableRecordingError):
        open_recording(path)


def test_samples_that_neo_would_make_up_are_refused(counts: np.ndarray, tmp_path: Path) -> None:
    makers.write_alphaomega(counts, tmp_path / "day1", lost_before_block=20, lost=44)

    with pytest.raises(UnreadableRecordingError, match="samples were lost"):
        open_recording(tmp_path / "day1")


def test_samples_that_end_before_their_index_are_refused(counts: np.ndarray, tmp_path: Path) -> None:
    samples = next(makers.write_tdt(counts, tmp_path / "Block-1").glob("*.tev"))
    samples.write_bytes(samples.read_bytes()[:-2000])

    with pytest.raises(UnreadableRecordingError, match="is truncated"):
        open_recording(tmp_path / "Block-1", config=RecordingConfig(gain_to_uv=1.0))


def test_channels_are_in_the_order_of_their_numbers(counts: np.ndarray, tmp_path: Path) -> None:
    many = np.tile(counts, 3)
    many += np.arange(12, dtype=np.int16)
    makers.write_neuralynx(many, tmp_path / "session")

    recording = open_recording(tmp_path / "session")

    assert list(recording.get_property("channel_name")) == [f"CSC{number}" for number in range(1, 13)]
    np.testing.assert_array_equal(recording.get_traces(), many[: recording.get_num_samples()])


def test_a_channel_without_samples_is_not_left_out_in_silence(counts: np.ndarray, tmp_path: Path) -> None:
    file = makers.write_neuralynx(counts, tmp_path / "session") / "CSC2.ncs"
    file.write_bytes(file.read_bytes()[:16384])

    with pytest.raises(UnreadableRecordingError, match=r"CSC2\.ncs' holds no samples, though other channels do"):
        open_recording(tmp_path / "session")


def test_a_described_binary_is_no_neuroscope_file_whatever_lies_beside_it(counts: np.ndarray, tmp_path: Path) -> None:
    path = makers.write_neuroscope(counts, tmp_path / "rat.dat")
    config = RecordingConfig.model_validate(
        {"gain_to_uv": 0.5, "binary": {"sampling_hz": 20000.0, "channels": 2, "dtype": "int16"}}
    )

    assert open_recording(path, config=config).get_num_channels() == 2


def test_the_electrodes_of_a_chip_are_where_its_file_says(counts: np.ndarray, tmp_path: Path) -> None:
    recording = open_recording(makers.write_biocam(counts, tmp_path / "chip.brw"))

    assert np.diff(recording.get_channel_locations(), axis=0).any(axis=1).all()


def test_a_folder_of_files_is_concatenated_without_what_belongs_to_them(counts: np.ndarray, tmp_path: Path) -> None:
    for name in ("part_1.ns5", "part_2.ns5"):
        makers.write_blackrock(counts, tmp_path / name)
    makers.write_blackrock(counts[:500], tmp_path / "part_1.ns2", rate_hz=1000.0)
    (tmp_path / "part_1.nev").write_bytes(b"NEURALEV")
    (tmp_path / "alone.nev").write_bytes(b"NEURALEV")

    recording = open_recording(tmp_path)

    assert [piece.name for piece in boundaries(recording)] == ["part_1.ns5", "part_2.ns5"]


def test_times_of_each_sample_make_the_rate_and_the_jumps(counts: np.ndarray, tmp_path: Path) -> None:
    times_s = 1000.0 + np.arange(len(counts)) / 30003.0
    times_s[9000:] += 0.02

    recording = open_recording(makers.write_blackrock(counts, tmp_path / "day1.ns6", times_s=times_s))

    clock = recording_clock(recording)
    assert [(jump.sample, jump.samples) for jump in clock.jumps] == [(9000, 600)]
    assert clock.ppm == pytest.approx(100, abs=5)
    np.testing.assert_allclose(clock.times_s([0, 8999, 9000, 14999]), times_s[[0, 8999, 9000, 14999]], atol=1e-6)
    np.testing.assert_array_equal(recording.get_traces(), counts)


def test_samples_of_a_chip_that_have_a_sign_and_inputs_that_are_no_electrodes(
    counts: np.ndarray, tmp_path: Path
) -> None:
    recording = open_recording(makers.write_mcs_raw(counts, tmp_path / "mea.raw", signed=True, others=1))

    assert list(recording.get_property("channel_name")) == ["El_11", "El_12", "El_13"]
    np.testing.assert_array_equal(recording.get_traces(), counts[:, :3])
    np.testing.assert_array_equal(recording.get_channel_offsets(), 0)


def test_rows_of_a_chip_are_those_that_its_channels_name_however_late_it_begins(
    counts: np.ndarray, tmp_path: Path
) -> None:
    path = makers.write_mcs_hdf5(counts, tmp_path / "mea.h5", first_us=60_000_000, reverse=True)

    recording = open_recording(path)

    assert list(recording.get_property("channel_name")) == ["E1", "E2", "E3", "E4"]
    np.testing.assert_array_equal(recording.get_traces(), counts)
    np.testing.assert_array_equal(recording.get_traces(channel_ids=["Ch2", "Ch0"]), counts[:, [2, 0]])
    assert recording.get_start_time() == pytest.approx(60)


def test_each_store_of_a_block_has_its_own_samples(counts: np.ndarray, tmp_path: Path) -> None:
    makers.write_tdt(counts, tmp_path / "Block-1", sev=True, in_tev=-counts)
    config = RecordingConfig(gain_to_uv=1.0)

    own_files = open_recording(tmp_path / "Block-1", "RSn1", config)
    in_tev = open_recording(tmp_path / "Block-1", "Wav1", config)

    np.testing.assert_array_equal(own_files.get_traces(), counts[: own_files.get_num_samples()])
    np.testing.assert_array_equal(load(in_tev.to_dict()).get_traces(), -counts[: in_tev.get_num_samples()])


def test_two_blocks_in_one_folder_are_not_taken_for_the_first(counts: np.ndarray, tmp_path: Path) -> None:
    makers.write_tdt(counts, tmp_path / "Block-1")
    (tmp_path / "Block-1/tank_Block-2.tsq").write_bytes(b"\x01")

    with pytest.raises(UnreadableRecordingError, match="holds the files of 2 blocks"):
        open_recording(tmp_path / "Block-1", config=RecordingConfig(gain_to_uv=1.0))


@pytest.mark.parametrize(
    ("write", "one", "again"),
    [
        (makers.write_open_ephys_legacy, "100_CH2.continuous", "104_CH2.continuous"),
        (makers.write_neuralynx, "CSC2.ncs", "CSC2_0001.ncs"),
    ],
)
def test_a_folder_with_two_recordings_of_the_same_channels_says_what_to_move(
    write: Callable[..., Path], one: str, again: str, counts: np.ndarray, tmp_path: Path
) -> None:
    folder = write(counts, tmp_path / "session")
    (folder / again).write_bytes((folder / one).read_bytes())

    with pytest.raises(UnreadableRecordingError, match="Move the files of each into a folder of its own"):
        open_recording(folder)


def test_a_file_whose_bytes_the_reader_can_t_count_is_refused(counts: np.ndarray, tmp_path: Path) -> None:
    path = makers.write_spike2(counts, tmp_path / "slice.smr")
    with path.open("r+b") as file:
        file.truncate(2**31)  # takes no room

    with pytest.raises(UnreadableRecordingError, match=r"2\.1 GB"):
        open_recording(path)


class _Looked:
    """Numbers that count how many of them were looked at."""

    def __init__(self, numbers: np.ndarray) -> None:
        self.numbers, self.count = numbers, 0

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> int:
        self.count += 1
        return int(self.numbers[index])


def test_lost_packets_are_found_without_reading_the_whole_file() -> None:
    steps = np.ones(1_000_000, dtype=np.int64)
    steps[[70, 71, 400_000, 999_999]] = [5, 3, 30_000, 2]
    steps[600_000] = -2_000_000  # the counter was set back
    numbers = (2**32 - 200_000 + np.cumsum(steps)).astype(np.uint32)  # and it wraps
    looked = _Looked(numbers)

    clock = clock_from_packet_numbers(looked, 30000.0)

    assert clock.pieces == clock_from_numbers(numbers, 30000.0).pieces
    assert looked.count < 500


def test_a_file_of_timed_samples_that_ends_within_one_is_refused(counts: np.ndarray, tmp_path: Path) -> None:
    path = makers.write_blackrock(counts, tmp_path / "day1.ns6", times_s=np.arange(len(counts)) / 30000.0)
    path.write_bytes(path.read_bytes()[:-3])

    with pytest.raises(UnreadableRecordingError, match="is truncated"):
        open_recording(path)


def test_a_file_of_a_session_in_which_nothing_was_recorded_says_so(counts: np.ndarray, tmp_path: Path) -> None:
    path = makers.write_blackrock(counts[:0], tmp_path / "day1.ns5")
    path.write_bytes(path.read_bytes()[:-9])  # without the only packet

    with pytest.raises(UnreadableRecordingError, match="holds no samples"):
        open_recording(path)


def _edit_records(file: Path, edit: Callable[[np.ndarray], np.ndarray]) -> None:
    record = np.dtype([("time", "<u8"), ("about", "<u4", 2), ("valid", "<u4"), ("samples", "<i2", 512)])
    content = file.read_bytes()
    records = np.frombuffer(content[16384:], record).copy()
    file.write_bytes(content[:16384] + edit(records).tobytes())


@pytest.mark.parametrize("gap_us", [0, 500_000])
def test_records_that_are_not_full_are_read_as_far_as_they_are_or_refused(
    gap_us: int, counts: np.ndarray, tmp_path: Path
) -> None:
    def shorten(records: np.ndarray) -> np.ndarray:
        records["valid"][10], records["samples"][10, 300:] = 300, 7777
        records["time"][11:] = records["time"][11:] + gap_us - round(212 / 30000 * 1e6)
        return records

    for file in makers.write_neuralynx(counts, tmp_path / "session").glob("*.ncs"):
        _edit_records(file, shorten)

    if gap_us:
        recording = open_recording(tmp_path / "session")
        np.testing.assert_array_equal(
            recording.get_traces()[5400:5440], counts[[*range(5400, 5420), *range(5632, 5652)]]
        )
    else:
        with pytest.raises(UnreadableRecordingError, match="not full and go on without a gap"):
            open_recording(tmp_path / "session")


def test_channels_of_other_stretches_of_time_are_named_as_such(counts: np.ndarray, tmp_path: Path) -> None:
    folder = makers.write_neuralynx(counts, tmp_path / "session")
    _edit_records(folder / "CSC3.ncs", lambda records: records[:-1])

    with pytest.raises(UnreadableRecordingError, match="do not hold the same stretches of time"):
        open_recording(folder)


def test_the_newer_file_of_a_chip_is_read(counts: np.ndarray, tmp_path: Path) -> None:
    recording = open_recording(makers.write_biocam_4(counts, tmp_path / "chip.brw"))

    np.testing.assert_array_equal(recording.get_traces().astype(int), counts.astype(int) + 2048)
    np.testing.assert_allclose(recording.get_channel_gains(), 8250.0 / 4095)
    assert recording.has_probe()


def test_several_wells_are_not_taken_for_the_first(counts: np.ndarray, tmp_path: Path) -> None:
    path = makers.write_biocam_4(counts, tmp_path / "plate.brw", wells=("Well_A1", "Well_A2"))

    with pytest.raises(UnreadableRecordingError, match="holds 2 wells"):
        open_recording(path)


def test_a_part_of_a_chip_asks_where_its_electrodes_are(counts: np.ndarray, probe_file: str, tmp_path: Path) -> None:
    path = makers.write_biocam_4(counts, tmp_path / "chip.brw", electrodes=(0, 1, 64, 65))

    with pytest.raises(MissingProbeError, match="a part of the chip's electrodes"):
        open_recording(path)

    assert open_recording(path, config=RecordingConfig(probe_file=probe_file)).has_probe()


@pytest.mark.parametrize(
    ("write", "file_name", "other"),
    [
        (makers.write_neuronexus, "mouse.day1_data.xdat", "mouse_data.xdat"),
        (makers.write_axona, "rat.day1.bin", "rat.bin"),
    ],
)
def test_a_name_of_which_the_reader_would_drop_the_end_is_refused(
    write: Callable[..., Path], file_name: str, other: str, counts: np.ndarray, tmp_path: Path
) -> None:
    write(counts, tmp_path / other)
    path = write(-counts, tmp_path / file_name)

    with pytest.raises(UnreadableRecordingError, match="has a dot in its middle"):
        open_recording(path)


@pytest.mark.parametrize("name", ["blackrock", "tdt", "open_ephys_legacy", "alphaomega", "neuronexus"])
def test_names_in_capital_letters_say_what_to_rename(name: str, counts: np.ndarray, tmp_path: Path) -> None:
    path = MAKERS[name].write(counts, tmp_path / MAKERS[name].file_name)
    for file in [*path.iterdir()] if path.is_dir() else [path]:
        file.rename(file.with_suffix(file.suffix.upper()))

    with pytest.raises(UnreadableRecordingError, match="ends in capital letters"):
        open_recording(path if path.is_dir() else path.with_suffix(path.suffix.upper()))
