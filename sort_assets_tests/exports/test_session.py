"""What is known of session and subject, and where it comes from."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import h5py
import pytest
from pynwb import NWBHDF5IO, NWBFile
from pynwb.file import Subject
from spikeinterface.core import BaseRecording, BaseSorting, append_recordings

from sort_assets.config.rules import RecordingSettings
from sort_assets.config.session_facts import SessionFacts, SubjectFacts
from sort_assets.exports.session import NOT_KNOWN, SOURCE, STATED, facts_of_files, left_out_s, session_facts
from sort_assets.recordings import open_recording
from sort_assets.recordings.opening import Boundary, boundaries
from sort_assets_tests.recordings.writers import write_open_ephys, write_spikeglx

Truth = tuple[BaseRecording, BaseSorting]

START = datetime(2024, 3, 1, 9, 30, tzinfo=UTC)


def write_source(path: Path, start: datetime = START, **subject: str) -> Path:
    """A small NWB file as another lab's software may have written it."""
    nwbfile = NWBFile(
        session_description="Sleep.",
        identifier=path.stem,
        session_start_time=start,
        experimenter=["Roe, Richard"],
        lab="Lab of Sleep",
        keywords=["sleep", "dream"],
        session_id="night-1",
        stimulus_notes="None.",
    )
    nwbfile.subject = Subject(
        **{"subject_id": "R2", "species": "Rattus norvegicus", "sex": "M", "age": "P90D"} | subject,
        date_of_birth=datetime(2023, 12, 1, tzinfo=UTC),
    )
    with NWBHDF5IO(str(path), "w") as io:
        io.write(nwbfile)
    return path


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone()


def test_an_nwb_file_tells_session_and_subject(unstated: RecordingSettings, tmp_path: Path) -> None:
    path = write_source(tmp_path / "night.nwb")

    facts = session_facts(path, "nwb", unstated)

    assert facts.start_time == START
    assert facts.session.experimenter == ("Roe, Richard",)
    assert facts.session.keywords == ("sleep", "dream")
    assert facts.session.session_id == "night-1"
    assert facts.session.stimulus_notes == "None."
    assert facts.subject.species == "Rattus norvegicus"
    assert facts.subject.date_of_birth.isoformat() == "2023-12-01"
    assert facts.subject.age__reference == "birth"
    assert facts.origins["session.lab"] == SOURCE
    assert facts.origins["session.session_start_time"] == SOURCE
    assert facts.origins["session.institution"] == NOT_KNOWN
    assert facts.absent == ("What the experiment is about: not known.", "Institution: not known.")


def test_what_the_lab_states_goes_before_what_the_file_says(tmp_path: Path) -> None:
    path = write_source(tmp_path / "night.nwb")
    stated = RecordingSettings(
        session=SessionFacts(lab="Lab of Dreams", session_start_time="2024-03-02T10:00:00+01:00"),
        subject=SubjectFacts(sex="F"),
    )

    facts = session_facts(path, "nwb", stated)

    assert facts.session.lab == "Lab of Dreams"
    assert facts.subject.sex == "F"
    assert facts.subject.subject_id == "R2"
    assert facts.start_time == datetime(2024, 3, 2, 9, tzinfo=UTC)
    assert facts.origins["session.lab"] == facts.origins["subject.sex"] == STATED
    assert facts.origins["session.session_start_time"] == STATED
    assert facts.origins["subject.subject_id"] == SOURCE


def test_what_no_archive_would_take_is_left_out_and_named(unstated: RecordingSettings, tmp_path: Path) -> None:
    path = write_source(tmp_path / "night.nwb", species="rat", sex="male")

    facts = session_facts(path, "nwb", unstated)

    assert facts.subject.species is None
    assert facts.subject.sex is None
    assert any("subject.species: the source file says 'rat', which is left out" in words for words in facts.absent)
    assert "Sex: not known." in facts.absent


def test_a_made_up_start_is_not_taken(unstated: RecordingSettings, tmp_path: Path) -> None:
    path = write_source(tmp_path / "night.nwb", start=datetime(1970, 1, 1, tzinfo=UTC))

    facts = session_facts(path, "nwb", unstated)

    assert facts.origins["session.session_start_time"] == NOT_KNOWN
    assert facts.start_time.year > 1980


def test_a_spikeglx_run_tells_when_it_began(short: Truth, unstated: RecordingSettings, tmp_path: Path) -> None:
    recording, _ = short
    run = write_spikeglx(recording, tmp_path / "run_g0")

    facts = session_facts(run, "spikeglx", unstated)

    assert facts.start_time == local("2024-01-01T12:00:00")
    assert "fileCreateTime" in facts.origins["session.session_start_time"]
    assert any("it states no time zone, so that of this computer is taken" in words for words in facts.absent)


def test_open_ephys_tells_when_it_began(short: Truth, unstated: RecordingSettings, tmp_path: Path) -> None:
    recording, _ = short
    session = write_open_ephys(recording, tmp_path / "session")
    (settings,) = session.rglob("settings.xml")
    text = settings.read_text()
    settings.write_text(text.replace("<INFO>", "<INFO>\n<DATE>5 Mar 2024 14:03:27</DATE>"))

    by_settings = session_facts(session, "open_ephys", unstated)
    (structure,) = session.rglob("structure.oebin")
    structure.with_name("sync_messages.txt").write_text(
        "Software Time (milliseconds since midnight Jan 1st 1970 UTC): 1709643807250\n"
        "Start Time for Neuropix-PXI (100) - ProbeA-AP @ 30000 Hz: 3\n"
    )
    by_messages = session_facts(session, "open_ephys", unstated)

    assert by_settings.start_time == local("2024-03-05T14:03:27")
    assert by_messages.start_time == datetime(2024, 3, 5, 13, 3, 27, 250_000, tzinfo=UTC)


def test_recordings_of_one_experiment_have_one_reference_time_and_keep_their_start_in_the_session(
    short: Truth, unstated: RecordingSettings, tmp_path: Path
) -> None:
    recording, _ = short
    two = append_recordings([recording.frame_slice(0, 60_000), recording.frame_slice(60_000, 90_000)])
    session = write_open_ephys(two, tmp_path / "session", lfp=False, first_sample=450_000)
    for messages in session.rglob("recording?"):
        (messages / "sync_messages.txt").write_text(
            "Software Time (milliseconds since midnight Jan 1st 1970 UTC): 1709643807250\n"
        )
    opened = open_recording(session)
    files = boundaries(opened)

    facts = facts_of_files(session, "open_ephys", unstated, files)

    assert [piece.start_time_s for piece in files] == [15.0, 18.0]  # a second between them
    began = datetime(2024, 3, 5, 13, 3, 27, 250_000, tzinfo=UTC)
    assert [facts[piece.name].reference_time(piece.start_time_s) for piece in files] == 2 * [
        began - timedelta(seconds=15)
    ]
    assert {one.start_time for one in facts.values()} == {began}
    assert not any("within the session" in words for one in facts.values() for words in one.absent)


@pytest.mark.parametrize(
    ("start_s", "began_s", "first_sample_s", "expected_s"),
    [
        (0.0, 5.0, 5.0, 0.0),
        (10.0, 5.0, 15.0, 10.0),
        (10.0, 5.0, 45.0, 40.0),  # a gap of half a minute in what was left out
        (10.0, 5.0, 14.9992, 9.9992),  # a slow clock
        (70.0, 0.0, 10.0, 70.0),  # in the second file, whose clock begins anew
        (10.0, None, 3.0, 10.0),
    ],
    ids=["nothing", "plain", "gap", "slow", "another file", "unknown"],
)
def test_what_is_left_out_at_the_beginning_lasts_as_long_as_the_clock_says(
    start_s: float, began_s: float | None, first_sample_s: float, expected_s: float
) -> None:
    assert left_out_s(start_s, began_s, first_sample_s) == pytest.approx(expected_s)


def test_a_maxwell_file_tells_when_it_began(unstated: RecordingSettings, tmp_path: Path) -> None:
    path = tmp_path / "data.raw.h5"
    with h5py.File(path, "w") as file:
        file["wells/well000/rec0000/start_time"] = [1_709_643_807_250]

    facts = session_facts(path, "maxwell", unstated)

    assert facts.start_time == datetime(2024, 3, 5, 13, 3, 27, 250_000, tzinfo=UTC)


def test_an_intan_file_tells_it_by_its_name(unstated: RecordingSettings, tmp_path: Path) -> None:
    path = tmp_path / "mouse1_240305_140327.rhd"
    path.write_bytes(b"no header")

    facts = session_facts(path, "intan", unstated)

    assert facts.start_time == local("2024-03-05T14:03:27")
    assert any("the name 'mouse1_240305_140327.rhd'" in words for words in facts.absent)


def test_where_nothing_tells_the_file_s_own_time_stands_and_that_is_said(
    unstated: RecordingSettings, tmp_path: Path
) -> None:
    path = tmp_path / "traces.dat"
    path.write_bytes(b"traces")
    os.utime(path, (1_700_000_000, 1_700_000_000))

    facts = session_facts(path, "", unstated)

    assert facts.start_time == datetime.fromtimestamp(1_700_000_000, tz=UTC)
    assert facts.origins["session.session_start_time"] == NOT_KNOWN
    assert (
        "Start of the session: not known; 2023-11-14T22:13:20+00:00, when the raw file was last written, stands for it."
        in facts.absent
    )


def test_where_the_raw_file_is_gone_that_is_said(unstated: RecordingSettings, tmp_path: Path) -> None:
    facts = session_facts(tmp_path / "gone.nwb", "nwb", unstated)

    assert facts.start_time.year == 1970
    assert any("the raw file is gone; 1970 stands for it" in words for words in facts.absent)


def test_a_damaged_file_costs_only_what_it_would_say(stated: RecordingSettings, tmp_path: Path) -> None:
    path = tmp_path / "night.nwb"
    path.write_bytes(b"no HDF5")

    facts = session_facts(path, "nwb", stated)

    assert facts.session.lab == "Lab of Wheels"
    assert any("could not be read" in words and "does not begin as an HDF5 file" in words for words in facts.absent)


def test_each_file_of_a_folder_says_when_it_began(unstated: RecordingSettings, tmp_path: Path) -> None:
    later = START + timedelta(hours=3)
    write_source(tmp_path / "part_1.nwb")
    write_source(tmp_path / "part_2.nwb", start=later)
    files = [Boundary("part_1.nwb", 0, 100, 0.0), Boundary("part_2.nwb", 100, 200, 5.0)]

    facts = facts_of_files(tmp_path, "", unstated, files)

    first, second = facts["part_1.nwb"], facts["part_2.nwb"]
    assert first.start_time == second.start_time == START
    assert first.reference_time(0.0) == START
    assert second.reference_time(5.0) == later  # times are those of the file's own clock
    assert second.subject == first.subject


def test_what_begins_in_a_later_file_was_recorded_when_that_file_says(
    unstated: RecordingSettings, tmp_path: Path
) -> None:
    later = START + timedelta(hours=3)
    write_source(tmp_path / "part_1.nwb")
    write_source(tmp_path / "part_2.nwb", start=later)

    facts = session_facts(tmp_path, "", unstated, cut_s=130.0, begins_in=("part_2.nwb", 10.0))

    assert facts.start_time == START
    assert facts.first_sample_time == later + timedelta(seconds=10)
    assert facts.reference_time(15.0) == later  # times are those of the file's own clock


def test_a_file_that_does_not_say_when_it_began_says_so(stated: RecordingSettings, tmp_path: Path) -> None:
    for name in ("a.dat", "b.dat"):
        (tmp_path / name).write_bytes(b"traces")
    files = [Boundary("a.dat", 0, 100, 0.0), Boundary("b.dat", 100, 200, 0.0)]

    facts = facts_of_files(tmp_path, "", stated, files)

    assert facts["a.dat"].absent == ()
    assert facts["a.dat"].reference_time(0.0) == facts["a.dat"].start_time
    assert facts["b.dat"].reference_time(0.0) is None
    assert any("When this file began within the session: not known" in words for words in facts["b.dat"].absent)


def test_times_on_the_file_s_clock_refer_to_its_zero(stated: RecordingSettings, tmp_path: Path) -> None:
    start = stated.session.session_start_time

    facts = session_facts(tmp_path / "gone", "open_ephys", stated, cut_s=10.0)

    # The recording's first sample, 1234 s on its clock, is cut off by 10 s.
    assert facts.reference_time(1244.0) == start - timedelta(seconds=1234)
