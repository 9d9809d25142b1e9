"""Lessons: visible files by shape, with an end."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sort_assets.errors import DeviceOutOfMemoryError
from sort_assets.platform.store.memory_profiles import MemoryProfile, MemoryProfiles, Shape
from sort_assets.platform.store.store import Store
from sort_assets.recordings.key import RecordingKey

SHAPE = Shape(sorter="kilosort4", device="NVIDIA H100 80GB HBM3/MIG", channels=384, sampling_hz=30_000.0)
FAILURE = DeviceOutOfMemoryError("CUDA out of memory.", remedy="Lower it.", stage="final clustering", bytes_asked=7)


def _teach(lessons: MemoryProfiles, shape: Shape = SHAPE, days: float = 30.0) -> MemoryProfile:
    return lessons.save(
        shape,
        failures=[FAILURE],
        params={"batch_size": 30_000},
        recording="mouse1~day2.nwb",
        version="v1",
        run_id="run",
        days=days,
    )


def test_a_recording_of_the_same_shape_finds_the_lesson(tmp_path: Path) -> None:
    taught = _teach(MemoryProfiles(tmp_path))

    found = MemoryProfiles(tmp_path).find(SHAPE)

    assert found == taught
    (error,) = found.errors
    assert type(error) is DeviceOutOfMemoryError
    assert (error.stage, error.diagnostics) == ("final clustering", {"bytes_asked": 7})
    assert found.params == {"batch_size": 30_000}
    assert found.expires - found.created == timedelta(days=30)


@pytest.mark.parametrize(
    "different", [{"sorter": "lupin"}, {"device": "CPU"}, {"channels": 385}, {"sampling_hz": 30_000.17}]
)
def test_a_recording_of_another_shape_does_not(tmp_path: Path, different: dict[str, object]) -> None:
    lessons = MemoryProfiles(tmp_path)
    _teach(lessons)

    assert lessons.find(SHAPE.model_copy(update=different)) is None


def test_shapes_whose_files_share_a_name_are_not_mixed_up(tmp_path: Path) -> None:
    lessons = MemoryProfiles(tmp_path)
    _teach(lessons)
    alike = SHAPE.model_copy(update={"device": "NVIDIA H100 80GB HBM3 MIG"})

    assert alike.name == SHAPE.name
    assert lessons.find(alike) is None


def test_the_file_has_a_name_that_people_can_read(tmp_path: Path) -> None:
    _teach(MemoryProfiles(tmp_path))

    (file,) = (tmp_path / "@lessons").iterdir()
    assert file.name == "kilosort4-384ch-30000Hz-NVIDIA_H100_80GB_HBM3_MIG.json"


def test_its_folder_is_no_recording_and_can_never_be_one(tmp_path: Path) -> None:
    _teach(MemoryProfiles(tmp_path))

    assert Store(tmp_path).recordings() == []
    assert str(RecordingKey("@lessons")) != "@lessons"


def test_a_newer_lesson_replaces_the_older(tmp_path: Path) -> None:
    lessons = MemoryProfiles(tmp_path)
    _teach(lessons)
    newer = _teach(lessons, days=5)

    assert lessons.all() == [newer]


def test_an_expired_lesson_is_none_and_is_removed(tmp_path: Path) -> None:
    lessons = MemoryProfiles(tmp_path)
    lesson = _teach(lessons)
    expired = lesson.model_copy(update={"expires": datetime.now(UTC) - timedelta(seconds=1)})
    lessons.path(SHAPE).write_text(expired.model_dump_json(), encoding="utf-8")

    assert lessons.expired() == [lessons.path(SHAPE)]
    assert lessons.find(SHAPE) is None
    assert not lessons.path(SHAPE).exists()


def test_a_damaged_lesson_is_none_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lessons = MemoryProfiles(tmp_path)
    _teach(lessons)
    lessons.path(SHAPE).write_text("{", encoding="utf-8")

    assert lessons.find(SHAPE) is None
    assert lessons.all() == []
    assert "can't be read and is not used" in caplog.text


def test_all_lessons_can_be_forgotten_also_damaged_ones(tmp_path: Path) -> None:
    lessons = MemoryProfiles(tmp_path)
    lesson = _teach(lessons)
    (lessons.folder / "damaged.json").write_text("{", encoding="utf-8")

    assert lessons.forget() == [lesson]
    assert list(lessons.folder.iterdir()) == []
    assert lessons.find(SHAPE) is None
