"""A place where the platform runs in tests: folders, environment, and the commands of the virtual environment."""

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner

from sort_assets.automation.jobs import PIPELINE
from sort_assets.automation.registration import register_recording
from sort_assets.cli import main
from sort_assets.definitions import defs
from sort_assets.execution.home import SETTINGS, WORKSPACE, open_instance, prepare_home
from sort_assets.partitions import RECORDINGS_PARTITIONS
from sort_assets.storage import Roots, Store
from sort_assets_tests.ports import free_port

SORT: tuple[str, ...] = PIPELINE[: PIPELINE.index("waveforms") + 1]
"""The part of the pipeline that tests of running and failing need; each further asset takes seconds."""
CHECKOUT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent

CHEAP: Mapping[str, Any] = {
    "preset": "mountainsort5",
    # The smallest set of features and no classifier: a few seconds instead of half a minute.
    "sorter": {"params": {"scheme": "1", "npca_per_channel": 1}},
    # One thread: BLAS threads that spin for a core are many times slower on a busy machine.
    "execution": {"n_jobs": 1},
}
"""The backend's run config for tests that need some real sort, and not its quality."""


def cheap(**sections: Mapping[str, Any]) -> dict[str, Any]:
    """`CHEAP` with further fields in its sections; `sorter` replaces the sorter's section."""
    return {**CHEAP, **{name: {**CHEAP.get(name, {}), **fields} for name, fields in sections.items()}}


@dataclass(frozen=True)
class Home:
    """Folders and environment of one installation.

    Attributes
    ----------
    folder : Path
        Outside the checkout; commands run here.
    roots : Roots
    variables : Mapping[str, str]
        The environment variables of sort_assets and Dagster.
    """

    folder: Path
    roots: Roots
    variables: Mapping[str, str]

    @property
    def store(self) -> Store:
        return Store(self.roots.store)

    @contextmanager
    def environment(self) -> Iterator[None]:
        """This process has the environment of this home."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.variables.items():
                patch.setenv(name, value)
            yield

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        with self.environment(), open_instance() as instance:
            yield instance

    def without(self, variable: str) -> "Home":
        """The same place for somebody who did not set a variable."""
        return replace(self, variables={**self.variables, variable: ""})

    def link(self, source: Path, name: str) -> Path:
        """Put a recording's file below the recordings root, without a copy of its bytes."""
        path = self.roots.recordings / name
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(source, path)
        return path

    def register(self, path: Path) -> str:
        """Make a recording with one stream a partition; returns its key."""
        with self.instance() as instance:
            (registered,) = register_recording(instance, path, self.roots)
        return registered.key

    def add_partition(self, key: str) -> str:
        """Make a key a partition, whatever it names, as somebody could in the UI."""
        with self.instance() as instance:
            instance.add_dynamic_partitions(RECORDINGS_PARTITIONS, [key])
        return key

    def materialize(self, recording: str, *assets: str, config: Mapping[str, Any] = CHEAP) -> dg.ExecuteInProcessResult:
        """Materialize assets (default: `SORT`) in this process, on the real instance; a failure is in the result."""
        job = defs.resolve_job_def("sort_recording")
        with self.instance() as instance:
            return job.execute_in_process(
                instance=instance,
                partition_key=recording,
                run_config={"resources": {"backend": {"config": dict(config)}}},
                asset_selection=[dg.AssetKey(asset) for asset in assets or SORT],
                raise_on_error=False,
            )

    def metadata(self, run_id: str, asset: str) -> Mapping[str, dg.MetadataValue]:
        """What a run's materialization of an asset shows."""
        with self.instance() as instance:
            records = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
        shown = [record.dagster_event.materialization for record in records if record.dagster_event]
        (materialization,) = [one for one in shown if one.asset_key.to_user_string() == asset]
        return materialization.metadata

    def warnings(self, run_id: str) -> list[str]:
        """What the steps of a run warned of."""
        with self.instance() as instance:
            return [entry.user_message for entry in instance.all_logs(run_id) if entry.level == logging.WARNING]

    def command(self, *words: str | Path, python_path: Path | None = None, timeout: float = 300) -> "Finished":
        """Run a command of the virtual environment to its end."""
        done = subprocess.run(
            self._words(words),
            cwd=self.folder,
            env=self._full_environment(python_path),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    def invoke(self, *words: str) -> "Finished":
        """Run a `sort-assets` command inside this process; a process of its own takes two seconds to start."""
        with self.environment(), chdir(self.folder):
            done = CliRunner().invoke(main, words, catch_exceptions=False)
        return Finished(done.exit_code, done.stdout, done.stderr)

    def start(self, *words: str | Path, output: Path, python_path: Path | None = None) -> "subprocess.Popen[bytes]":
        """Start a command of the virtual environment in a process group of its own."""
        with output.open("wb") as log:
            return subprocess.Popen(
                self._words(words),
                cwd=self.folder,
                env=self._full_environment(python_path),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _words(self, words: tuple[str | Path, ...]) -> list[str]:
        name, *rest = map(str, words)
        return [str(BIN / name) if (BIN / name).exists() else name, *rest]

    def _full_environment(self, python_path: Path | None) -> dict[str, str]:
        # The width keeps rich from folding lines that tests look for.
        given = {**os.environ, **self.variables, "COLUMNS": "500"}
        environment = {name: value for name, value in given.items() if value}
        if python_path is not None:
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(python_path), environment.get("PYTHONPATH")]))
        return environment


@dataclass(frozen=True)
class Finished:
    """What a command left behind."""

    status: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        return self.stdout + self.stderr


def make_home(folder: Path) -> Home:
    """Make and prepare the folders of a home."""
    variables = {
        "DAGSTER_HOME": str(folder / "dagster"),
        "SORT_ASSETS_RECORDINGS": str(folder / "recordings"),
        "SORT_ASSETS_STORE": str(folder / "store"),
        "SORT_ASSETS_LEASES": str(folder / "leases"),
        "SORT_ASSETS_FIGURES_URL": f"http://127.0.0.1:{free_port()}",
    }
    roots = Roots(folder / "recordings", folder / "store", variables["SORT_ASSETS_FIGURES_URL"])
    shutil.copytree(_prepared().name, folder, symlinks=True, dirs_exist_ok=True)
    return Home(folder, roots, variables)


@cache
def _prepared() -> "tempfile.TemporaryDirectory[str]":
    """A home as `prepare_home` leaves it, to be copied: creating Dagster's databases takes more than a second."""
    temporary = tempfile.TemporaryDirectory(prefix="sort_assets-home-")
    folder = Path(temporary.name)
    (folder / "dagster").mkdir()
    for name in (SETTINGS, WORKSPACE):
        (folder / "dagster" / name).symlink_to(CHECKOUT / name)
    roots = {"SORT_ASSETS_RECORDINGS": folder / "recordings", "SORT_ASSETS_STORE": folder / "store"}
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in {"DAGSTER_HOME": folder / "dagster", **roots}.items():
            patch.setenv(variable, str(value))
        prepare_home()
    return temporary


def materialize_words(
    recording: str, *assets: str, config: Mapping[str, Any] = CHEAP, config_file: Path
) -> tuple[str, ...]:
    """The command line that materializes assets (default: `SORT`) of a recording, its run config in a file."""
    config_file.write_text(json.dumps({"resources": {"backend": {"config": config}}}), encoding="utf-8")
    return (
        *("dagster", "asset", "materialize", "-m", "sort_assets.definitions"),
        *("--select", ",".join(assets or SORT), "--partition", recording, "-c", str(config_file)),
    )


def staging_of(home: Home, recording: str, asset: str) -> list[Path]:
    """Whatever stages of an asset are left in the store."""
    return sorted(home.store.asset_folder(recording, asset).glob(".staging-*"))
