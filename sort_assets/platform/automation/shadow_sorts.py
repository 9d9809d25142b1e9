"""Sorts of a sample under rules that are not in force: the pipeline itself, in a store and an instance of their own.

A process of its own runs the pipeline for each recording. It has another store, into which what does not become stale
is linked, and a Dagster home of its own, which is removed afterwards. So nothing of it becomes current, and no sensor
sees it. Leases of GPUs hold across instances: a sample waits for a device as every sort does.
"""

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from sort_assets.config.settings import (
    DAGSTER_HOME_VARIABLE,
    ENGINE_VARIABLE,
    NOTIFY_VARIABLE,
    POSTGRES_VARIABLE,
    RECORDINGS_VARIABLE,
    RULES_VARIABLE,
    SLURM_JOBS_VARIABLE,
    STORE_VARIABLE,
    Roots,
    read_environment,
)
from sort_assets.errors import EngineError, SortAssetsError, StorageError
from sort_assets.forecasts.totals import PlannedRecording
from sort_assets.platform.automation.what_if import RulesEdit
from sort_assets.platform.pipeline.catalog import PIPELINE
from sort_assets.platform.store.failures import failed_attempts
from sort_assets.platform.store.files import entries
from sort_assets.platform.store.handles import StoredCuration, StoredManualCuration, StoredSorting
from sort_assets.platform.store.layout import WHAT_IF
from sort_assets.platform.store.locks import Locked, exclusive_lock
from sort_assets.platform.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sort_assets.comparisons.sortings import SortingComparison

SAMPLED = PIPELINE[: PIPELINE.index(StoredCuration.asset) + 1]
"""What is made of a recording of the sample: everything up to its curated units."""
PERSISTING = "persisting"
_CHANGES = ("units", "kept", "seconds", "bytes")
_LOCK = ".lock"
_LAST_LINES = 20
_MODULE = "sort_assets.platform.automation.shadow_run"
_CODE_LOCATION = "sort_assets.definitions"


@dataclass(frozen=True)
class Shadow:
    """A recording of the sample as it is now, and under the new rules.

    Attributes
    ----------
    recording : str
    fates : Mapping[str, int]
        How many of the units that curation kept met each fate, and how many are new, as
        `comparisons.sortings.SortingComparison.counts` has them.
    persisting : float or None
        Part of the units that curation kept which are still there; None where there were none.
    units, kept, seconds, bytes : tuple of float
        Before and after: units that the sorter found, units that curation kept, time that the steps took without
        waiting for a device (None where the present results don't tell), and what they wrote.
    """

    recording: str
    fates: Mapping[str, int]
    persisting: float | None
    units: tuple[float, float]
    kept: tuple[float, float]
    seconds: tuple[float | None, float | None]
    bytes: tuple[float, float]


@dataclass(frozen=True)
class MeanChange:
    """A mean over the recordings of a sample.

    Attributes
    ----------
    mean : float
    low, high : float or None
        In 8 of 10 cases, the mean over all recordings that the sample stands for lies between them, if what is measured
        is normally distributed among these (Student's t). None of a single recording, which tells nothing of others.
    """

    mean: float
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, values: Sequence[float], bounds: tuple[float, float] = (-math.inf, math.inf)) -> "MeanChange":
        """That of the values of recordings, which lie within bounds."""
        from scipy.stats import t

        mean = fmean(values)
        if len(values) < 2:
            return cls(mean)
        half = float(t.ppf(0.9, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
        return cls(mean, max(bounds[0], mean - half), min(bounds[1], mean + half))


@dataclass
class Sample:
    """A sample that was sorted under other rules.

    Attributes
    ----------
    folder : Path
        The store in which it is.
    shadows : list of Shadow
    failed : dict
        By recording that could not be sorted under these rules, or compared, why.
    """

    folder: Path
    shadows: list[Shadow] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def changes(self) -> dict[str, MeanChange]:
        """Mean changes per recording of `units`, `kept`, `seconds` and `bytes`, and the mean part that persists."""
        values: dict[str, list[float]] = {name: [] for name in (*_CHANGES, PERSISTING)}
        for one in self.shadows:
            for name in _CHANGES:
                before, after = getattr(one, name)
                if before is not None and after is not None:
                    values[name].append(after - before)
            if one.persisting is not None:
                values[PERSISTING].append(one.persisting)
        bounds = {PERSISTING: (0.0, 1.0)}
        return {name: MeanChange.of(some, *filter(None, [bounds.get(name)])) for name, some in values.items() if some}

    def to_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "store": os.fspath(self.folder),
            "recordings": [asdict(one) for one in self.shadows],
            "changes": {name: asdict(one) for name, one in self.changes.items()},
            "failed": self.failed,
        }


def representative(planned: Sequence[PlannedRecording], number: int) -> list[PlannedRecording]:
    """A sample of recordings that are as different in size as all are.

    Parameters
    ----------
    planned : sequence of PlannedRecording
        Those of which a sort would be made again.
    number : int
        How many to take.

    Returns
    -------
    list of PlannedRecording
        In order of size, one from the middle of each of as many equal parts.
    """
    in_order = sorted(planned, key=lambda one: (one.size or 0.0, one.recording))
    number = min(number, len(in_order))
    return [in_order[int((part + 0.5) * len(in_order) / number)] for part in range(number)]


def sort_sample(
    roots: Roots, found: RulesEdit, rules_file: Path, number: int, on_progress: Callable[[str], object] = str
) -> Sample:
    """Sort a sample of what an edit of the rules would have sorted again, and compare.

    A sample before this one is removed.

    Parameters
    ----------
    roots : Roots
    found : RulesEdit
        What the edit would change.
    rules_file : Path
        The new rules.
    number : int
        The number of recordings to sort, at most.
    on_progress : callable
        Called with a sentence about how far it has come.

    Raises
    ------
    EngineError
        When steps run on other hosts than this one.
    StorageError
        When another sample is being sorted, or the store can't be written.
    """
    engine = read_environment().engine
    if engine != "local":
        raise EngineError(
            f"Steps run with the engine '{engine}', and a sample is sorted on this host.",
            remedy="Ask without --sample, or on a workstation.",
        )
    planned = [one for one in found.planned if _steps(one)]
    with _place(roots) as folder:
        sample = Sample(folder)
        chosen = representative(planned, number) if planned else []
        for index, one in enumerate(chosen):
            on_progress(f"Sorting {one.recording} under the new rules, {index + 1} of {len(chosen)}")
            shadow = replace(roots, store=folder)
            try:
                _link_what_stays(roots, shadow, one)
                problem = _run_pipeline(shadow, rules_file, one)
                if problem is None:
                    sample.shadows.append(_compare(roots, shadow, one))
                else:
                    sample.failed[one.recording] = problem
            except SortAssetsError as error:
                sample.failed[one.recording] = str(error)
    return sample


@contextmanager
def _place(roots: Roots) -> "Iterator[Path]":
    """A fresh folder for one sample; those of earlier samples are removed."""
    above = roots.store / WHAT_IF
    try:
        with exclusive_lock(above / _LOCK, make_folder=True):
            for earlier in entries(above):
                if earlier.name != _LOCK:
                    shutil.rmtree(earlier)
            folder = above / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
            folder.mkdir()
            yield folder
    except Locked as error:
        raise StorageError(
            "Another sample is being sorted.", remedy="Wait until it is done, or stop it.", path=os.fspath(above)
        ) from error


def _steps(one: PlannedRecording) -> list[str]:
    """The steps of a sample's recording, none where nothing up to its curated units would be made again."""
    return [step.name for step in one.steps if step.name in SAMPLED]


def _link_what_stays(roots: Roots, shadow: Roots, one: PlannedRecording) -> None:
    """Links to the results that the new ones are made from, and to what a person decided of the units."""
    made, there, here = _steps(one), Store(roots.store), Store(shadow.store)
    for asset in (*SAMPLED, StoredManualCuration.asset):
        source = there.asset_folder(one.recording, asset)
        if asset not in made and source.is_dir():
            link = here.asset_folder(one.recording, asset)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(source)


def _run_pipeline(shadow: Roots, rules_file: Path, one: PlannedRecording) -> str | None:
    """Run the steps in a process of its own; returns why they failed, None when they did not."""
    with tempfile.TemporaryDirectory(prefix="sort_assets-what_if-") as temporary:
        folder = Path(temporary)
        shutil.copy(rules_file, folder / "rules.yaml")
        variables = {
            DAGSTER_HOME_VARIABLE: os.fspath(folder / "home"),
            RECORDINGS_VARIABLE: os.fspath(shadow.recordings),
            STORE_VARIABLE: os.fspath(shadow.store),
            RULES_VARIABLE: os.fspath(folder / "rules.yaml"),
            **dict.fromkeys((ENGINE_VARIABLE, POSTGRES_VARIABLE, SLURM_JOBS_VARIABLE, NOTIFY_VARIABLE), ""),
        }
        # Dagster reads the nearest `.env`, which takes precedence over the environment.
        lines = "".join(f"{name}={json.dumps(value, ensure_ascii=False)}\n" for name, value in variables.items())
        (folder / ".env").write_text(lines, encoding="utf-8")
        # The kernel closes the pipe when this process dies, which ends the other one.
        reader, writer = os.pipe()
        try:
            done = subprocess.run(
                [sys.executable, "-m", _MODULE, _CODE_LOCATION, one.recording, *_steps(one)],
                cwd=folder,
                env={**os.environ, **variables},
                stdin=reader,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                check=False,
            )
        finally:
            os.close(reader)
            os.close(writer)
    if done.returncode == 0:
        return None
    for asset in _steps(one):
        for attempt in failed_attempts(Store(shadow.store), one.recording, asset)[-1:]:
            return f"{asset}: {SortAssetsError.from_dict(attempt.failure)}"
    return "\n".join(done.stdout.splitlines()[-_LAST_LINES:])


def _compare(roots: Roots, shadow: Roots, one: PlannedRecording) -> Shadow:
    from sort_assets.comparisons.sortings import ComparedSorting, compare_sortings

    def units(where: Roots) -> ComparedSorting:
        curated = StoredCuration(where, one.recording)
        return ComparedSorting(curated.load(), curated.sorting.details.duration_s)

    compared: SortingComparison = compare_sortings(units(roots), units(shadow))
    both = (roots, shadow)
    num_kept = len(compared.old_fates)
    before, after = (_cost(where, one) for where in both)
    return Shadow(
        recording=one.recording,
        fates=compared.counts,
        persisting=len(compared.persisting) / num_kept if num_kept else None,
        units=_pair(StoredSorting(where, one.recording).details.num_units for where in both),
        kept=_pair(StoredCuration(where, one.recording).details.num_kept for where in both),
        seconds=(before[0], after[0]),
        bytes=(before[1], after[1]),
    )


def _pair(values: "Iterator[int]") -> tuple[float, float]:
    before, after = values
    return float(before), float(after)


def _cost(where: Roots, one: PlannedRecording) -> tuple[float | None, float]:
    """The time that the steps took, and the size of what they wrote."""
    manifests = [Store(where.store).artefact(one.recording, asset).manifest for asset in _steps(one)]
    costs = [manifest.cost for manifest in manifests]
    known = [cost.wall_s - cost.waited_s for cost in costs if cost is not None]
    return sum(known) if len(known) == len(costs) else None, float(sum(sum(one.files.values()) for one in manifests))
