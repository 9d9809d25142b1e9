"""What the walk takes for a recording, by names alone, and what it never touches."""

import os
from itertools import pairwise
from pathlib import Path

import pytest

from sort_assets.config.rules import Rules, Sidecar, parse_rules
from sort_assets.errors import OutsideRecordingsRootError, RulesError, StorageError, UnreadableRecordingError
from sort_assets.platform.arrivals.candidates import Candidate, Checkpoint, Position, Refusal, find_candidates
from sort_assets.platform.arrivals.stamps import stamp_of
from sort_assets_tests.recordings.files import without_rights


class _Rules:
    """Rules without sidecars."""

    def __init__(self, text: str = "") -> None:
        self._rules: Rules = parse_rules(text, "sort_assets.yaml")

    def ignores_folder(self, relative: str, sidecar: Path | None) -> bool:
        return self._rules.ignores_folder(relative)

    def concatenates(self, relative: str, sidecar: Path | None, *, default: bool) -> bool:
        return self._rules.concatenates(relative, default=default)

    def names_reader(self, relative: str, sidecar: Path | None) -> str:
        return self._rules.names_reader(relative)

    def describes_binary(self, relative: str, sidecar: Path | None) -> bool:
        described: Sidecar | None = None
        return self._rules.describes_binary(relative, described)


def _files(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"samples")


def _found(root: Path, rules: str = "", after: tuple[str, ...] = ()) -> list[str]:
    found = list(find_candidates(root, _Rules(rules), after=after))
    assert all(isinstance(one, Candidate) for one in found), found
    return [one.relative for one in found]


def _split(root: Path, rules: _Rules | None = None) -> tuple[list[str], dict[str, Refusal]]:
    """What is found, and what is refused."""
    found = list(find_candidates(root, rules or _Rules()))
    candidates = [one.relative for one in found if isinstance(one, Candidate)]
    return candidates, {one.relative: one for one in found if isinstance(one, Refusal)}


def _nest(folder: Path, levels: int) -> Path:
    """Folders within each other, made level by level: the whole path may be too long for the operating system."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("deep.nwb", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    return folder


def test_recordings_are_found_at_any_depth_in_a_fixed_order(tmp_path: Path) -> None:
    _files(tmp_path, "b.nwb", "a/deep/er/plate.h5", "a/notes.txt", "c.rhd", "a.nwb")

    assert _found(tmp_path) == ["a/deep/er/plate.h5", "a.nwb", "b.nwb", "c.rhd"]


@pytest.mark.parametrize(
    "name",
    [
        *("x.nwb.part", "x.nwb.tmp", "x.nwb~", "~x.nwb", ".x.nwb.Ab3d", "x.nwb.crdownload", "x.nwb.filepart"),
        *("copy.part/x.nwb", ".hidden/x.nwb", "x.nwb.sort_assets.yaml", "sort_assets.yaml"),
    ],
)
def test_partial_copies_hidden_files_and_our_own_files_are_passed_over(name: str, tmp_path: Path) -> None:
    _files(tmp_path, name)

    assert _found(tmp_path) == []


@pytest.mark.parametrize(
    "name",
    ["two words.nwb", "ünïcödé 🐭.nwb", "-rf.nwb", "new\nline.nwb", "per%cent.nwb", f"{'x' * 196}.nwb", "..x.nwb.nwb"],
)
def test_odd_names_are_found_as_they_are(name: str, tmp_path: Path) -> None:
    _files(tmp_path, f"folder {name[:20].strip('.')}/{name}")
    expected = [] if name.startswith(".") else [f"folder {name[:20].strip('.')}/{name}"]

    assert _found(tmp_path) == expected


def test_names_that_are_not_utf8_are_found(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.nwb"
    Path(os.fsdecode(path)).write_bytes(b"samples")

    (name,) = _found(tmp_path)

    assert os.fsencode(name) == b"caf\xe9.nwb"


def test_a_walk_goes_on_where_an_earlier_one_stopped(tmp_path: Path) -> None:
    names = [f"day{day}/part{part}.nwb" for day in range(3) for part in range(4)]
    _files(tmp_path, *names, "day1.nwb", "last.nwb")
    whole = _found(tmp_path)

    for index, name in enumerate(whole):
        assert _found(tmp_path, after=tuple(name.split("/"))) == whole[index + 1 :]
    assert len(whole) == len(names) + 2


def test_the_stamp_changes_with_size_times_and_replacement(tmp_path: Path) -> None:
    _files(tmp_path, "x.nwb")
    (before,) = find_candidates(tmp_path, _Rules())
    times = (tmp_path / "x.nwb").stat()
    # Another file of the same name, size and modification time, as `cp --preserve` or `mv` leave it.
    (tmp_path / "other").write_bytes(b"SAMPLES")
    os.utime(tmp_path / "other", ns=(times.st_atime_ns, times.st_mtime_ns))
    (tmp_path / "other").rename(tmp_path / "x.nwb")

    (after,) = find_candidates(tmp_path, _Rules())

    assert isinstance(before, Candidate)
    assert isinstance(after, Candidate)
    assert before.stamp != after.stamp


def test_a_folder_is_watched_as_a_whole(tmp_path: Path) -> None:
    _files(tmp_path, "run/binary.json", "run/properties/gains.npy", "run/traces_cached_seg0.raw")
    (before,) = find_candidates(tmp_path, _Rules())
    with (tmp_path / "run/properties/gains.npy").open("ab") as file:
        file.write(b"more")
    (after,) = find_candidates(tmp_path, _Rules())
    _files(tmp_path, "run/.DS_Store", "run/Thumbs.db", "run/run.sort_assets.yaml")

    (visited,) = find_candidates(tmp_path, _Rules())

    assert isinstance(before, Candidate)
    assert before.relative == "run"
    assert isinstance(after, Candidate)
    assert before.stamp != after.stamp
    assert isinstance(visited, Candidate)
    assert visited.stamp == after.stamp


def test_a_folder_with_a_partial_copy_in_it_is_not_complete(tmp_path: Path) -> None:
    _files(tmp_path, "run/binary.json", "run/traces_cached_seg0.raw.part")

    (found,) = find_candidates(tmp_path, _Rules())

    assert isinstance(found, Candidate)
    assert not found.complete


@pytest.mark.parametrize(
    ("name", "partial"),
    [
        *((".m_g0_t0.imec1.ap.bin.Xs81kq", True), (".0.0.abcdeF", True), (".zarray", False), (".zattrs", False)),
        *((".zgroup", False), (".zmetadata", False), (".rig.config", False), (".notes.241124", False)),
        *((".gitignore", False), ("m_g0_t0.imec1.ap.Xs81kq", False)),
    ],
)
def test_what_rsync_has_not_finished_is_partial_and_other_hidden_files_are_not(
    name: str, partial: bool, tmp_path: Path
) -> None:
    _files(tmp_path, "run/binary.json", f"run/imec1/{name}")

    (found,) = find_candidates(tmp_path, _Rules())

    assert isinstance(found, Candidate)
    assert found.complete is not partial


def test_a_link_out_of_the_root_is_refused_and_one_inside_is_not_found_twice(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    _files(root, "real.nwb")
    _files(elsewhere, "other.nwb")
    (root / "again.nwb").symlink_to(root / "real.nwb")
    (root / "out.nwb").symlink_to(elsewhere / "other.nwb")
    (root / "share").symlink_to(elsewhere)
    (root / "loop").symlink_to(root / "loop")
    (root / "up").symlink_to(root)
    (root / "gone.nwb").symlink_to(root / "nothing.nwb")
    (root / "notes.txt").symlink_to(elsewhere / "notes.txt")

    found = list(find_candidates(root, _Rules()))

    assert [one.relative for one in found if isinstance(one, Candidate)] == ["real.nwb"]
    refused = {one.relative: one.problem for one in found if isinstance(one, Refusal)}
    assert set(refused) == {"out.nwb", "share"}
    assert all(isinstance(problem, OutsideRecordingsRootError) for problem in refused.values())


def test_a_pipe_with_the_name_of_a_recording_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.nwb")

    assert _found(tmp_path) == []


def test_an_ignored_folder_is_not_looked_into_and_a_declared_session_is_one_recording(tmp_path: Path) -> None:
    _files(tmp_path, "junk/a.nwb", "sessions/one/part_1.nwb", "sessions/one/part_2.nwb", "sessions/notes.nwb")
    rules = "rules: [{match: junk/, ignore: true}, {match: 'sessions/*/', concatenate: true}]"

    assert _found(tmp_path, rules) == ["sessions/notes.nwb", "sessions/one"]


def test_intan_s_files_of_each_minute_are_one_recording_unless_a_rule_says_that_they_are_not(tmp_path: Path) -> None:
    names = [f"s_240105_10{minute}00" for minute in (15, 16, 17)]
    _files(tmp_path, *(f"{names[0]}/{name}.rhd" for name in names))

    assert _found(tmp_path) == [names[0]]
    apart = _found(tmp_path, "rules: [{match: 's_*/', concatenate: false}]")
    assert apart == [f"{names[0]}/{name}.rhd" for name in names]


def test_plain_binaries_are_recordings_only_where_a_rule_describes_them(tmp_path: Path) -> None:
    _files(tmp_path, "a.dat", "rig/a.dat", "rig/b.bin", "rig/c.raw")
    rules = "rules: [{match: rig/, recording: {binary: {sampling_hz: 30000, channels: 4, dtype: int16}}}]"

    assert _found(tmp_path) == ["rig/c.raw"]  # MC_DataTool's files have this name
    assert _found(tmp_path, rules) == ["rig/a.dat", "rig/b.bin", "rig/c.raw"]


def test_a_root_that_is_not_there_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"can't be listed.*mounted"):
        list(find_candidates(tmp_path / "absent", _Rules()))


def test_a_folder_that_may_not_be_read_is_refused_and_the_others_are_found() -> None:
    with without_rights() as root:
        _files(root, "open/a.nwb", "secret/b.nwb")
        (root / "secret").chmod(0)

        found = list(find_candidates(root, _Rules()))

    assert [one.relative for one in found] == ["open/a.nwb", "secret"]
    (refusal,) = [one for one in found if isinstance(one, Refusal)]
    assert isinstance(refusal.problem, StorageError)
    assert "Permission denied" in str(refusal.problem)
    assert "the right to read it" in str(refusal.problem)


def test_a_link_whose_target_can_not_be_looked_at_costs_itself_alone() -> None:
    with without_rights() as folder:
        root, elsewhere = folder / "root", folder / "elsewhere"
        _files(root, "z.nwb")
        _files(elsewhere, "closed/share/x.nwb")
        (root / "a").symlink_to("/" + "a" * 300)
        (root / "b").symlink_to(elsewhere / "closed/share")
        (root / "c.nwb").symlink_to("/" + "a" * 300 + "/x.nwb")
        (elsewhere / "closed").chmod(0)

        found, refused = _split(root)
        for link in ("a", "b", "c.nwb"):
            (root / link).unlink()

    assert found == ["z.nwb"]
    assert "File name too long" in str(refused["a"].problem)
    assert "Permission denied" in str(refused["b"].problem)
    assert isinstance(refused["c.nwb"].problem, OutsideRecordingsRootError)


def test_an_error_about_one_entry_costs_that_entry_alone(tmp_path: Path) -> None:
    class Confused(_Rules):
        def ignores_folder(self, relative: str, sidecar: Path | None) -> bool:
            if relative == "b":
                raise ValueError("embedded null byte")
            return False

    _files(tmp_path, "a.nwb", "b/x.nwb", "c/y.nwb")

    found, refused = _split(tmp_path, Confused())

    assert found == ["a.nwb", "c/y.nwb"]
    assert "embedded null byte" in str(refused["b"].problem)


def test_a_deep_tree_is_refused_below_64_levels_and_the_others_are_found(tmp_path: Path) -> None:
    _files(tmp_path, f"{'e/' * 64}last.nwb", "z.nwb")
    _nest(tmp_path, 500)

    found, refused = _split(tmp_path)

    assert found == [f"{'e/' * 64}last.nwb", "z.nwb"]
    (refusal,) = refused.values()
    assert refusal.position == ("d",) * 65
    assert isinstance(refusal.problem, UnreadableRecordingError)
    assert "Remedy: Move what is in it further up" in str(refusal.problem)


def test_a_folder_recording_that_is_too_deep_is_refused(tmp_path: Path) -> None:
    _files(tmp_path, "run/binary.json", "z.nwb", f"whole/{'e/' * 64}x", "whole/binary.json")
    _nest(tmp_path / "run", 500)

    found, refused = _split(tmp_path)

    assert found == ["whole", "z.nwb"]
    assert isinstance(refused["run"].problem, UnreadableRecordingError)
    with pytest.raises(UnreadableRecordingError, match="64 folders"):
        stamp_of(tmp_path / "run")


@pytest.mark.parametrize("target", ["nowhere.yaml", "/" + "a" * 300, "x.nwb.sort_assets.yaml"])
@pytest.mark.parametrize("name", ["x.nwb", "x.nwb/inner.nwb"])
def test_a_recording_whose_sidecar_leads_nowhere_is_refused(name: str, target: str, tmp_path: Path) -> None:
    _files(tmp_path, name, "z.nwb")
    (tmp_path / "x.nwb.sort_assets.yaml").symlink_to(target)

    found, refused = _split(tmp_path)

    assert found == ["z.nwb"]
    assert isinstance(refused["x.nwb"].problem, RulesError)
    assert "x.nwb.sort_assets.yaml' can't be read: " in str(refused["x.nwb"].problem)


def test_a_walk_may_stop_wherever_it_says_how_far_it_has_come(tmp_path: Path) -> None:
    _files(tmp_path, "a/0.nwb", "a/1.nwb", "a/deep/er/x.nwb", "a.nwb", "b/c/notes.txt", "run/binary.json", "z.nwb")
    _files(tmp_path, *(f"many/{number:04}.{'txt' if number % 500 else 'nwb'}" for number in range(2500)))
    (tmp_path / "gone").symlink_to(tmp_path.parent)

    def walk(after: Position = ()) -> list[tuple[type, Position]]:
        found = find_candidates(tmp_path, _Rules(), after=after, with_checkpoints=True)
        return [(type(one), one.position) for one in found]

    whole = walk()
    silent = [(type(one), one.position) for one in find_candidates(tmp_path, _Rules())]

    passed = [Checkpoint(position).relative for kind, position in whole if kind is Checkpoint]
    assert passed == ["a/deep/er", "a/deep", "a", "b/c", "b", "gone", "many/0999.txt", "many/1999.txt", "many"]
    assert all(walk(position) == whole[index:] for index, (_, position) in enumerate(whole, start=1))
    assert all(before < after for (_, before), (_, after) in pairwise(whole))
    assert silent == [one for one in whole if one[0] is not Checkpoint]


def test_the_refusal_of_a_folder_comes_again_where_an_earlier_walk_stopped_in_it() -> None:
    with without_rights() as root:
        _files(root, "secret/a.nwb", "secret/b.nwb", "z.nwb")
        (root / "secret").chmod(0)

        inside = list(find_candidates(root, _Rules(), after=("secret", "a.nwb")))
        at_it = list(find_candidates(root, _Rules(), after=("secret",)))

    assert [one.relative for one in inside] == ["secret", "z.nwb"]
    assert [one.relative for one in at_it] == ["z.nwb"]
