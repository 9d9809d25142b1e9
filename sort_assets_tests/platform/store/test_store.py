"""The artefact store: whole artefacts or none, whatever happens to the writer."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sort_assets.errors import DamagedArtefactError, MissingArtefactError
from sort_assets.platform.store.details import Details
from sort_assets.platform.store.store import Artefact, Store

WRITER = """
import sys, time
from pathlib import Path
from sort_assets.platform.store.store import Store
with Store(Path(sys.argv[1])).stage("rec", "binary_dat", run_id="dead") as staging:
    (staging.path / "traces.dat").write_bytes(b"half")
    print("writing", flush=True)
    time.sleep(600)
"""

LINKER = """
import sys, time
from pathlib import Path
from sort_assets.platform.store.details import Details
from sort_assets.platform.store.store import Store
def stuck(*paths):
    print("linked", flush=True)
    time.sleep(600)
Path.replace = stuck
with Store(Path(sys.argv[1])).stage("rec", "binary_dat", run_id="dead") as staging:
    staging.publish(data_version="v", config={}, config_sources={}, inputs={}, details=Details())
"""
PUBLISHER = """
import sys
from pathlib import Path
from sort_assets.platform.store.details import Details
from sort_assets.platform.store.store import Store
for turn in range(60):
    with Store(Path(sys.argv[1])).stage("rec", "binary_dat", run_id=f"{sys.argv[2]}{turn:04d}") as staging:
        (staging.path / "traces.dat").write_bytes(b"x")
        staging.publish(data_version="v", config={}, config_sources={}, inputs={}, details=Details())
"""

ABANDONER = """
import sys
from pathlib import Path
from sort_assets.platform.store.store import Store
for turn in range(400):
    with Store(Path(sys.argv[1])).stage("rec", "binary_dat", run_id=f"{sys.argv[2]}{turn:04d}"):
        pass
"""


def _publish(store: Store, content: bytes, *, asset: str = "binary_dat") -> Artefact:
    with store.stage("rec", asset, run_id="0123456789") as staging:
        (staging.path / "traces.dat").write_bytes(content)
        return staging.publish(
            data_version="v", config={}, config_sources={}, inputs={}, details=Details(n=len(content))
        )


def test_the_current_artefact_is_the_last_one_published(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = _publish(store, b"one")
    second = _publish(store, b"second")

    current = store.artefact("rec", "binary_dat")

    assert current == second
    assert (current.path / "traces.dat").read_bytes() == b"second"
    assert store.artefact("rec", "binary_dat", first.manifest.version).manifest.details == {"format_version": 1, "n": 3}
    assert store.versions("rec", "binary_dat") == [first.manifest.version, second.manifest.version]


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")

    with contextlib.suppress(RuntimeError), store.stage("rec", "sorting", run_id="r") as staging:
        (staging.path / "part").write_bytes(b"x")
        raise RuntimeError

    assert list(tmp_path.rglob("*")) == [store.root]
    with pytest.raises(MissingArtefactError, match="Materialize sorting"):
        store.artefact("rec", "sorting")


def test_a_writer_that_fails_keeps_what_was_there(tmp_path: Path) -> None:
    store = Store(tmp_path)
    before = _publish(store, b"good")

    with pytest.raises(KeyboardInterrupt), store.stage("rec", "binary_dat", run_id="r"):
        raise KeyboardInterrupt

    assert store.artefact("rec", "binary_dat") == before
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".staging")]


def test_a_killed_writer_is_invisible_and_the_next_one_removes_its_remains(tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    writer.stdout.readline()
    store = Store(tmp_path)

    other = _publish(store, b"beside it")  # a living writer's staging is left alone
    living = [path for path in (tmp_path / "rec/binary_dat").iterdir() if path.name.startswith(".staging")]
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    version_before = store.artefact("rec", "binary_dat")
    after = _publish(store, b"again")

    assert len(living) == 2
    assert version_before == other
    assert store.artefact("rec", "binary_dat") == after
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".staging")]


def test_a_link_that_a_killed_writer_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", LINKER, str(tmp_path)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    writer.stdout.readline()
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    folder = tmp_path / "rec/binary_dat"
    left = [path.name for path in folder.glob(".current-*")]
    store = Store(tmp_path)

    after = _publish(store, b"again")

    assert len(left) == 1
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []
    assert store.artefact("rec", "binary_dat") == after


@pytest.mark.slow
def test_writers_of_one_asset_do_not_take_each_others_remains_for_dead(tmp_path: Path) -> None:
    names = "abcd"
    writers = [subprocess.Popen([sys.executable, "-c", PUBLISHER, str(tmp_path), name]) for name in names]

    assert [writer.wait(timeout=300) for writer in writers] == [0] * len(names)
    folder = tmp_path / "rec/binary_dat"
    assert len(Store(tmp_path).versions("rec", "binary_dat")) == 60 * len(names)
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_a_fresh_lock_that_a_clean_up_holds_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    before = _publish(Store(tmp_path), b"good")
    writers = [subprocess.Popen([sys.executable, "-c", ABANDONER, str(tmp_path), name]) for name in "abcd"]

    assert [writer.wait(timeout=300) for writer in writers] == [0] * 4
    assert {path.name for path in before.path.parent.iterdir()} == {"current", before.manifest.version}


def test_a_folder_with_a_manifest_is_no_version_until_it_is_published(tmp_path: Path) -> None:
    store = Store(tmp_path)

    with store.stage("rec", "sorting", run_id="r") as staging:
        (staging.path / "manifest.json").write_text("{}", encoding="utf-8")

        assert store.versions("rec", "sorting") == []


@pytest.mark.slow
def test_a_reader_never_sees_half_a_publication(tmp_path: Path) -> None:
    store = Store(tmp_path)
    _publish(store, b"0")
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[2])\n"
        "from sort_assets_tests.platform.store.test_store import _publish\n"
        "from sort_assets.platform.store import Store\n"
        "for n in range(150): _publish(Store(Path(sys.argv[1])), b'x' * (n % 7 + 1))\n"
    )
    root = str(Path(__file__).parents[3])
    writer = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), root])
    reads = 0
    while writer.poll() is None:
        artefact = store.artefact("rec", "binary_dat")
        assert (artefact.path / "traces.dat").stat().st_size == artefact.manifest.details["n"]
        reads += 1
        time.sleep(0.001)

    assert writer.returncode == 0
    assert reads > 10


def test_a_file_that_changed_after_publication_is_noticed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    artefact = _publish(store, b"complete")
    (artefact.path / "traces.dat").write_bytes(b"cut")

    with pytest.raises(DamagedArtefactError, match="has 3 bytes; its manifest says 8"):
        store.artefact("rec", "binary_dat")


def test_the_manifest_names_what_made_the_artefact(tmp_path: Path) -> None:
    manifest = _publish(Store(tmp_path), b"x").manifest

    assert manifest.recording == "rec"
    assert manifest.run_id == "0123456789"
    assert manifest.version.endswith("-01234567")
    assert manifest.files == {"traces.dat": 1}
    assert {"python", "spikeinterface", "numpy", "kilosort", "torch"} <= set(manifest.packages)
    assert manifest.packages["python"] == ".".join(map(str, sys.version_info[:3]))
