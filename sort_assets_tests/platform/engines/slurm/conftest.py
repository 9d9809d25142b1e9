"""A lab with a Slurm, shared by the tests of this folder: use another recording in each."""

import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from spikeinterface.core import BaseRecording, BaseSorting

from sort_assets.backends.registry import registered_backends
from sort_assets.testing.nwb import write_nwb
from sort_assets_tests.fixtures.postgres import PostgresServer
from sort_assets_tests.fixtures.ready import UPSTREAM
from sort_assets_tests.fixtures.slurm_cluster import SlurmCluster
from sort_assets_tests.fixtures.slurm_lab import SlurmLab, make_lab, timed


@pytest.fixture(scope="session")
def lab(slurm: SlurmCluster, postgres: PostgresServer) -> Iterator[SlurmLab]:
    """The lab."""
    made = make_lab(slurm, postgres.new_database(), "lab")
    plugin = made.home.variables["PYTHONPATH"].split(":")[0]
    sys.path.insert(0, plugin)  # the launcher asks the sorter what it needs
    registered_backends.cache_clear()  # earlier tests of this process have looked for sorters
    yield made
    sys.path.remove(plugin)
    registered_backends.cache_clear()


@pytest.fixture
def instance(lab: SlurmLab) -> Iterator[dg.DagsterInstance]:
    """The instance of the lab, for a test with the environment of its control host; no job is left afterwards."""
    with lab.home.instance() as opened:
        yield opened
    for job in lab.cluster.unfinished():
        lab.cluster.run("scancel", job)
    lab.cluster.wait_for(lambda: not lab.cluster.unfinished(), "the end of all jobs")


@pytest.fixture(scope="session")
def brief_file(short: tuple[BaseRecording, BaseSorting], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 3 s of the recording of `short` as an NWB file."""
    recording, _ = short
    brief = recording.frame_slice(0, round(3 * recording.sampling_frequency))
    return write_nwb(brief, tmp_path_factory.mktemp("recordings") / "brief.nwb")


@pytest.fixture(scope="session")
def ready_key(lab: SlurmLab, brief_file: Path) -> str:
    """A recording that is ready to be sorted."""
    key = lab.add(brief_file, "ready.nwb")
    assert lab.home.materialize(key, *UPSTREAM, config=timed()).success
    return key
