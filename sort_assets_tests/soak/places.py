"""Where a soak takes place: the home, its database, its disk and its cluster, and how each of these is disturbed."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sort_assets.config.settings import SCAN_INTERVAL_VARIABLE, SCRATCH_VARIABLE
from sort_assets.platform.execution.home import prepare_home
from sort_assets_tests.fixtures.home import Home, make_home
from sort_assets_tests.fixtures.slurm_cluster import NODES, SlurmCluster, running_slurm
from sort_assets_tests.fixtures.slurm_lab import make_lab
from sort_assets_tests.soak.databases import Database, database
from sort_assets_tests.soak.disk import SmallDisk, small_disk
from sort_assets_tests.soak.plan import CUT, LOCAL_FAULTS, SLURM_FAULTS, Fault, FaultKind
from sort_assets_tests.soak.processes import MARK_VARIABLE
from sort_assets_tests.soak.soak_sorter import JOURNAL_VARIABLE

Disturb = Callable[[Fault], tuple[str, Callable[[], None]]]
"""Injects a fault; returns what was hit, and how it is taken back."""
_LAB = "soak"


@dataclass(frozen=True)
class Place:
    """Where a soak takes place.

    Attributes
    ----------
    home : Home
        With everything that the environment must say.
    journal : Path
        What the sorters write down, as this process sees it.
    kinds : tuple of FaultKind
        The faults that are possible here.
    disturb : Mapping[str, Disturb]
        How to inject those that hit no process of the home, by their role.
    lease_folders : tuple of Path
    cluster : SlurmCluster or None
    """

    home: Home
    journal: Path
    kinds: tuple[FaultKind, ...]
    disturb: Mapping[str, Disturb]
    lease_folders: tuple[Path, ...]
    cluster: SlurmCluster | None = None


@contextmanager
def local_place(folder: Path, database_name: str, *, fill_disk: bool) -> Iterator[Place]:
    """This machine, with SQLite or PostgreSQL."""
    home = make_home(folder / "home")
    journal = folder / "journal.tsv"
    with database(database_name, home) as data, small_disk(home.roots.store, wanted=fill_disk) as disk:
        home = _with_variables(home, journal, **data.variables)
        with home.environment():
            prepare_home()
        kinds = (*LOCAL_FAULTS, *([CUT] if data.can_cut else []))
        kinds = tuple(kind for kind in kinds if kind.role != "disk" or disk.can_be_filled)
        kinds = tuple(replace(kind, lasts_s=data.away_s) if kind.act == "away" else kind for kind in kinds)
        disturb = {"database": _of_database(data), "disk": _of_disk(disk)}
        yield Place(home, journal, kinds, disturb, (home.folder / "leases",))


@contextmanager
def slurm_place() -> Iterator[Place]:
    """A Slurm of two nodes, whose runs are jobs, with PostgreSQL."""
    with running_slurm() as cluster, database("postgres", None) as data:
        lab = make_lab(cluster, next(iter(data.variables.values())), _LAB)
        journal = cluster.shared / _LAB / "journal.tsv"
        with lab.setup.open("a", encoding="utf-8") as setup:
            # The soak's sorter knows its recording by the store's folder, in which it works without a scratch folder.
            setup.write(f"export {JOURNAL_VARIABLE}=$SHARED/{_LAB}/journal.tsv\nunset {SCRATCH_VARIABLE}\n")
        home = _with_variables(lab.home, journal)
        leases = (home.folder / "leases", *(cluster.own_disk(node) / "leases" for node in NODES))
        disturb = {"database": _of_database(data), **_of_cluster(cluster)}
        yield Place(home, journal, SLURM_FAULTS, disturb, leases, cluster)


def _with_variables(home: Home, journal: Path, **more: str) -> Home:
    ours = {SCAN_INTERVAL_VARIABLE: "2", JOURNAL_VARIABLE: str(journal), MARK_VARIABLE: str(home.folder)}
    return replace(home, variables={**home.variables, **ours, **more})


def _of_database(data: Database) -> Disturb:
    def disturb(fault: Fault) -> tuple[str, Callable[[], None]]:
        (data.cut if fault.kind.act == "cut" else data.take_away)()
        return "the database", data.bring_back

    return disturb


def _of_disk(disk: SmallDisk) -> Disturb:
    def disturb(_: Fault) -> tuple[str, Callable[[], None]]:
        disk.fill()
        return "the store's disk", disk.clear

    return disturb


def _of_cluster(cluster: SlurmCluster) -> dict[str, Disturb]:
    def node(fault: Fault) -> tuple[str, Callable[[], None]]:
        name = NODES[int(fault.choice * len(NODES))]
        (cluster.cut_off if fault.kind.act == "cut off" else cluster.partition_off)(name)
        return f"node {name}", lambda: cluster.restore(name)

    def controller(_: Fault) -> tuple[str, Callable[[], None]]:
        cluster.stop_controller()
        return "the controller", cluster.start_controller

    return {"node": node, "controller": controller}
