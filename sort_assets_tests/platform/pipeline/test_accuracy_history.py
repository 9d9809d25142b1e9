"""Which measurements of accuracy say what is usual on a rig."""

from pathlib import Path

import pytest

from sort_assets.platform.pipeline.accuracy_history import measurements_on_rig, recalls_before
from sort_assets.platform.pipeline.rig_history import Rig
from sort_assets.platform.store.layout import MANIFEST_NAME
from sort_assets.platform.store.store import Store
from sort_assets_tests.platform.pipeline.known_accuracy import publish_measurement


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def recalls(store: Store, key: str, *, version: str = "", channels: int = 16) -> list[float]:
    return sorted(recalls_before(store, key, version, channels=channels, sorter="mountainsort5"))


def test_other_recordings_of_the_rig_and_older_measurements_count_and_the_measurement_itself_does_not(
    store: Store,
) -> None:
    for number in range(5):
        publish_measurement(store, f"rig~{number}.nwb", 0.5 + number / 10)
    publish_measurement(store, "other~a.nwb", 0.1)
    publish_measurement(store, "rig~day.nwb", 0.4, run_id="before")
    this = publish_measurement(store, "rig~day.nwb", 0.3, run_id="now")

    assert recalls(store, "rig~day.nwb", version=this.manifest.version) == [0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


def test_what_came_out_the_same_twice_counts_once(store: Store) -> None:
    publish_measurement(store, "rig~a.nwb", 0.5, run_id="first")
    publish_measurement(store, "rig~a.nwb", 0.5, run_id="again")

    assert recalls(store, "rig~b.nwb") == [0.5]


def test_another_sorter_or_number_of_channels_is_another_rig(store: Store) -> None:
    publish_measurement(store, "rig~a.nwb", 0.5, sorter="kilosort4")
    publish_measurement(store, "rig~b.nwb", 0.6, channels=32)
    publish_measurement(store, "rig~c.nwb", 0.7)

    assert recalls(store, "rig~day.nwb") == [0.7]
    assert [one.recording for one in measurements_on_rig(store, Rig("rig", 16, "mountainsort5"))] == ["rig~c.nwb"]


def test_a_rig_with_few_measurements_is_compared_with_all_like_it(store: Store) -> None:
    publish_measurement(store, "rig~a.nwb", 0.5)
    for number in range(4):
        publish_measurement(store, f"other~{number}.nwb", 0.9)

    assert recalls(store, "rig~day.nwb") == [0.5, 0.9, 0.9, 0.9, 0.9]


def test_a_damaged_measurement_says_nothing(store: Store) -> None:
    publish_measurement(store, "rig~a.nwb", 0.5)
    damaged = publish_measurement(store, "rig~b.nwb", 0.6)
    (damaged.path / MANIFEST_NAME).write_text("{")

    assert recalls(store, "rig~day.nwb") == [0.5]


def test_without_measurements_there_is_no_history(store: Store) -> None:
    assert recalls(store, "rig~day.nwb") == []
    assert measurements_on_rig(store, Rig("rig", 16, "mountainsort5")) == []


def test_a_rig_is_named_as_its_folder_is() -> None:
    assert Rig("rig=20A", 16, "mountainsort5").words == "16 channels, below 'rig A', sorted with mountainsort5"
