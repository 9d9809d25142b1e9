"""The lines of `scan --dry-run`."""

from sort_assets.platform.arrivals.dry_run import FOREIGN, REGISTERED, PlannedRecording
from sort_assets.platform.cli.recordings import planned_lines


def test_many_files_of_a_folder_that_are_no_recordings_have_one_line() -> None:
    images = [PlannedRecording(f"camera/frame_{number:04}.raw", FOREIGN) for number in range(2000)]
    others = [
        PlannedRecording("pose.h5", FOREIGN),
        PlannedRecording("rat/a.ns5", REGISTERED, ("rat~a.ns5",)),
        PlannedRecording("rat/link.nwb", FOREIGN, why="Its samples are those of 'a.nwb'."),
    ]

    lines = list(planned_lines([*images, *others]))

    assert lines == [
        "camera/*.raw: no recordings (2000 files)",
        "pose.h5: no recording",
        "rat/a.ns5: registered: rat~a.ns5",
        "rat/link.nwb: no recording. Its samples are those of 'a.nwb'.",
    ]
