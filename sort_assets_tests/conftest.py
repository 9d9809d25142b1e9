"""What many tests share: small synthetic recordings with known spikes, made once per session, and Dagster homes."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from spikeinterface.core import BaseRecording, BaseSorting

from sort_assets.testing.ground_truth import make_ground_truth
from sort_assets.testing.nwb import write_nwb
from sort_assets_tests.backends import threshold_sorter
from sort_assets_tests.faults import misbehaving_sorter
from sort_assets_tests.fixtures.fake_driver import FakeDriver, build_fake_driver
from sort_assets_tests.fixtures.home import Home, make_home
from sort_assets_tests.fixtures.postgres import PostgresServer, postgres_server
from sort_assets_tests.fixtures.ray_cluster import GPU_NODE, RayCluster, RayNode, node_environment, running_ray
from sort_assets_tests.fixtures.ready import Ready, copy_ready, make_ready
from sort_assets_tests.fixtures.slurm_cluster import SlurmCluster, running_slurm


def pytest_configure() -> None:
    """Take back what a shell does to a job in the background: SIGINT and SIGQUIT arrive ignored.

    Every process that a test starts would ignore them too, and nobody could interrupt it.
    """
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGQUIT, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


@pytest.hookimpl(tryfirst=True)  # before the tests are selected by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is asked only before a release is slow too. Where slow and quick tests run together, the slow ones begin.

    The quick ones of a file go to one worker, which makes once what they share, as with ``--dist loadfile``.
    """
    for item in items:
        if item.get_closest_marker("release"):
            item.add_marker(pytest.mark.slow)
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    for item in items:
        if not item.get_closest_marker("slow") and not item.get_closest_marker("xdist_group"):
            file = item.path.relative_to(Path(__file__).parent).with_suffix("")
            item.add_marker(pytest.mark.xdist_group(str(file)))
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session")
def ground_truth() -> tuple[BaseRecording, BaseSorting]:
    """16 channels, 8 units, 20 s at 30 kHz, in memory; and the spikes in it."""
    return make_ground_truth()


@pytest.fixture(scope="session")
def nwb_file(ground_truth: tuple[BaseRecording, BaseSorting], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recording of `ground_truth` as an NWB file; read it, never write to it."""
    recording, _ = ground_truth
    return write_nwb(recording, tmp_path_factory.mktemp("recordings") / "ground_truth.nwb")


@pytest.fixture(scope="session")
def built_driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of libraries that stand for those of NVIDIA's driver."""
    return build_fake_driver(tmp_path_factory.mktemp("driver"))


@pytest.fixture
def driver(built_driver: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    """An NVIDIA driver that answers what the test says, for the processes that it starts."""
    return FakeDriver(built_driver, tmp_path_factory.mktemp("rig"), monkeypatch)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A prepared DAGSTER_HOME, a recordings root, a store and leases that nobody else uses."""
    return make_home(tmp_path / "home")


@pytest.fixture(scope="module")
def module_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The same for all tests of a module: use another recording key in each test."""
    return make_home(tmp_path_factory.mktemp("module") / "home")


@pytest.fixture(scope="session")
def short() -> tuple[BaseRecording, BaseSorting]:
    """16 channels, 8 units, 10 s at 30 kHz, in memory; and the spikes in it."""
    return make_ground_truth(duration_s=10.0)


@pytest.fixture(scope="session")
def short_file(short: tuple[BaseRecording, BaseSorting], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recording of `short` as an NWB file; link or copy it, never write to it."""
    recording, _ = short
    return write_nwb(recording, tmp_path_factory.mktemp("recordings") / "short.nwb")


@pytest.fixture(scope="session")
def ready_template(short_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home that all workers share, in which the recording of `short_file` is ready to be sorted; copy it."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    return make_ready(shared / "ready", short_file)


@pytest.fixture
def ready(ready_template: Home, tmp_path: Path) -> Ready:
    """A home of this test alone, in which a recording of 10 s is filtered and its `.dat` written."""
    return copy_ready(ready_template, tmp_path / "home")


@pytest.fixture(scope="module")
def module_ready(ready_template: Home, tmp_path_factory: pytest.TempPathFactory) -> Ready:
    """The same for all tests of a module."""
    return copy_ready(ready_template, tmp_path_factory.mktemp("module") / "home")


@pytest.fixture(scope="session")
def misbehaving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH that holds the installed package of the misbehaving sorter."""
    folder = tmp_path_factory.mktemp("site-packages")
    info = folder / "misbehaving_sorter-1.0.dist-info"
    info.mkdir()
    (folder / "misbehaving_sorter.py").write_text(Path(misbehaving_sorter.__file__).read_text())
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: misbehaving-sorter\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[sort_assets.backends]\nmisbehaving = misbehaving_sorter:MisbehavingBackend\n"
    )
    return folder


@pytest.fixture(scope="session")
def started_ray(misbehaving: Path) -> Iterator[RayCluster]:
    """A real Ray: a head with 2 CPUs and no GPU, and a node with 1 CPU and 1 declared GPU."""
    environment = node_environment(misbehaving)
    with running_ray(RayNode(GPU_NODE, 1, 1, environment), head_environment=environment) as cluster:
        yield cluster


@pytest.fixture
def ray_cluster(started_ray: RayCluster) -> RayCluster:
    """The same, with all that an earlier test has killed started again; mark such tests `xdist_group("ray")`."""
    started_ray.mend()
    return started_ray


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server of this session; whoever stops it starts it again."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def plugin(tmp_path: Path) -> Callable[[str], Path]:
    """Makes a folder for PYTHONPATH that holds an installed package with a sorter backend.

    Called with the target of the entry point ``threshold``; the package holds the module `threshold_sorter`, of which
    the source stands beside the tests of backends.
    """

    def install(target: str) -> Path:
        folder = tmp_path / "site-packages"
        info = folder / "threshold_sorter-1.0.dist-info"
        info.mkdir(parents=True)
        source = Path(threshold_sorter.__file__)
        (folder / source.name).write_text(source.read_text())
        (info / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: threshold-sorter\nVersion: 1.0\n", encoding="utf-8"
        )
        (info / "entry_points.txt").write_text(f"[sort_assets.backends]\nthreshold = {target}\n")
        return folder

    return install


@pytest.fixture(scope="session")
def slurm() -> Iterator[SlurmCluster]:
    """A real Slurm with two nodes; its tests are in the group "slurm", so that one worker has them all."""
    with running_slurm() as cluster:
        yield cluster
