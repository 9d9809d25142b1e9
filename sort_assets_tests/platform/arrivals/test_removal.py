"""`sort-assets forget` and `sort-assets purge`: who says so is obeyed, and nothing else is touched."""

import json
from pathlib import Path

import dagster as dg
import pytest

from sort_assets.platform.arrivals.catalog_entry import State
from sort_assets.platform.arrivals.header_reader import HeaderReader
from sort_assets.platform.arrivals.scanner import RecordingScanner
from sort_assets.platform.pipeline.partitions import RECORDINGS_PARTITIONS
from sort_assets.testing.ground_truth import make_ground_truth
from sort_assets_tests.fixtures.home import Home
from sort_assets_tests.platform.store.writers import publish
from sort_assets_tests.recordings.writers import write_maxwell


def _keys(home: Home) -> set[str]:
    with home.instance() as instance:
        return set(instance.get_dynamic_partitions(RECORDINGS_PARTITIONS))


def _state(home: Home, path: str) -> State | None:
    entry = home.catalog().get(path)
    return None if entry is None else entry.state


def _look(home: Home) -> list[str]:
    """What the sensor registers, however long everything has been quiet."""
    (home.roots.recordings / "sort_assets.yaml").write_text("arrival: {quiet_s: 0}", encoding="utf-8")
    reader = HeaderReader(timeout_s=60.0)
    try:
        with home.instance() as instance:
            return RecordingScanner(instance, home.roots, reader, sensor="s").scan().registered
    finally:
        reader.close()


def _plate(home: Home) -> Path:
    recording, _ = make_ground_truth(duration_s=0.5, num_channels=4, num_units=2)
    path = home.roots.recordings / "plate.raw.h5"
    write_maxwell({"well000": recording, "well001": recording}, path)
    assert home.invoke("register", str(path)).status == 0
    return path


def test_a_forgotten_recording_stays_away_until_it_is_registered_again(home: Home, small_file: Path) -> None:
    path = home.link(small_file, "mouse 1/day.nwb")
    key = home.register(path)
    publish(home.store, "sorting", recording=key)

    done = home.invoke("forget", "mouse 1/day.nwb", "--json")
    registered = _look(home)

    assert (done.status, json.loads(done.stdout)) == (0, [{"path": "mouse 1/day.nwb", "keys": [key], "ignored": True}])
    assert registered == []
    assert _keys(home) == set()
    assert _state(home, "mouse 1/day.nwb") is State.FORGOTTEN
    assert home.store.artefact(key, "sorting")
    assert home.register(path) == key
    assert _keys(home) == {key}
    assert _state(home, "mouse 1/day.nwb") is State.REGISTERED


def test_a_stream_is_forgotten_alone_and_all_of_them_together_are_the_recording(home: Home) -> None:
    path = _plate(home)

    one = home.invoke("forget", "plate.raw.h5@well001")
    path.touch()
    registered = _look(home)
    state = _state(home, "plate.raw.h5")

    assert (one.status, one.stdout) == (0, "forgotten: plate.raw.h5@well001 (other streams of its recording stay)\n")
    assert (registered, state) == ([], State.REGISTERED)
    assert _keys(home) == {"plate.raw.h5@well000"}
    assert home.invoke("forget", "plate.raw.h5@well000").stdout == "forgotten: plate.raw.h5@well000\n"
    assert _state(home, "plate.raw.h5") is State.FORGOTTEN
    assert home.invoke("register", str(path)).status == 0
    assert _keys(home) == {"plate.raw.h5@well000", "plate.raw.h5@well001"}


def test_the_key_of_a_file_means_all_its_streams(home: Home) -> None:
    _plate(home)

    done = home.invoke("forget", "plate.raw.h5", "--json")

    (forgotten,) = json.loads(done.stdout)
    assert forgotten["keys"] == ["plate.raw.h5@well000", "plate.raw.h5@well001"]
    assert _keys(home) == set()


def test_a_recording_can_be_forgotten_before_anybody_saw_it(home: Home, small_file: Path) -> None:
    path = home.link(small_file, "day.nwb")

    done = home.invoke("forget", str(path))

    assert (done.status, done.stdout) == (0, "forgotten: day.nwb\n")
    assert _look(home) == []


def test_an_unknown_name_is_an_error_that_names_the_nearest_and_the_others_are_forgotten(home: Home) -> None:
    home.add_partition("day.nwb")
    home.add_partition("night.nwb")

    done = home.invoke("forget", "nihgt.nwb", "day.nwb")

    assert done.status == 1
    assert "nihgt.nwb: There is no recording 'nihgt.nwb'" in done.stderr
    assert "Did you mean night.nwb?" in done.stderr
    assert _keys(home) == {"night.nwb"}


def test_a_partition_that_can_not_be_a_recording_is_removed_and_nothing_out_of_the_store(home: Home) -> None:
    home.add_partition("../recordings")
    home.link(Path(__file__), "here.py")

    done = home.invoke("purge", "../recordings", "--yes", "--json")

    assert (done.status, json.loads(done.stdout)[0]["removed"]) == (0, [])
    assert _keys(home) == set()
    assert (home.roots.recordings / "here.py").exists()


@pytest.mark.parametrize("command", [["forget"], ["purge", "--yes"]])
def test_a_recording_with_a_run_that_has_not_ended_is_left_alone(home: Home, command: list[str]) -> None:
    key = home.add_partition("day.nwb")
    publish(home.store, "sorting", recording=key)
    with home.instance() as instance:
        tags = {"dagster/partition": key}
        run = instance.add_run(dg.DagsterRun("sort_recording", status=dg.DagsterRunStatus.STARTED, tags=tags))

    done = home.invoke(*command, key)

    assert done.status == 1
    assert f"Run {run.run_id} of 'day.nwb' is started." in done.stderr
    assert "Remedy: Wait" in done.stderr
    assert _keys(home) == {key}
    assert home.store.artefact(key, "sorting")


def test_a_recording_that_somebody_writes_is_left_alone(home: Home) -> None:
    key = home.add_partition("day.nwb")

    with home.store.stage(key, "sorting", run_id="run"):
        done = home.invoke("purge", key, "--yes")

    assert done.status == 1
    assert "Somebody writes or sorts 'day.nwb'" in done.stderr
    assert _keys(home) == {key}


def test_purging_asks_first_and_shows_what_would_go(home: Home, small_file: Path) -> None:
    path = home.link(small_file, "day.nwb")
    key = home.register(path)
    publish(home.store, "sorting", bytes(1_000_000), recording=key)

    refused = home.invoke("purge", key)
    silent = home.invoke("purge", key, "--json")
    asked = home.store.artefact(key, "sorting")
    done = home.invoke("purge", key, "--yes", "--json")

    assert refused.status == 1
    assert "To be removed: day.nwb (sorting, 1.0 MB)" in refused.stdout
    assert silent.status == 2
    assert asked
    (purged,) = json.loads(done.stdout)
    assert (done.status, purged["keys"], purged["removed"][0]["assets"]) == (0, [key], ["sorting"])
    assert purged["removed"][0]["bytes"] > 1_000_000
    assert not (home.roots.store / key).exists()
    assert path.read_bytes() == small_file.read_bytes()
    assert _state(home, "day.nwb") is State.FORGOTTEN


def test_results_without_a_partition_can_be_purged(home: Home) -> None:
    publish(home.store, "sorting", recording="day.nwb")

    done = home.invoke("purge", "day.nwb", "--yes")

    assert done.status == 0, done.output
    assert home.store.recordings() == []


def test_links_out_of_the_store_are_not_followed(home: Home, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "data").write_text("mine", encoding="utf-8")
    home.add_partition("linked.nwb")
    (home.roots.store / "linked.nwb").symlink_to(precious)
    home.add_partition("inside.nwb")
    publish(home.store, "sorting", recording="inside.nwb")
    (home.store.asset_folder("inside.nwb", "sorting") / "link").symlink_to(precious)

    linked = home.invoke("purge", "linked.nwb", "--yes")
    inside = home.invoke("purge", "inside.nwb", "--yes")

    assert linked.status == 1
    assert "is a symbolic link" in linked.stderr
    assert "linked.nwb" in _keys(home)
    assert inside.status == 0
    assert (precious / "data").read_text(encoding="utf-8") == "mine"
