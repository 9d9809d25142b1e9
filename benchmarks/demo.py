"""How long the demo takes for somebody who has just installed: nothing that numba compiled is there yet.

    python -m benchmarks.bench demo

Its seconds depend on the machine and on who else uses it; what is beside the sorter, and CPU time, say more.
"""

import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.machine import CHECKOUT
from benchmarks.process_tree import BenchmarkError, measure
from benchmarks.rows import Row, Size
from sort_assets.config.settings import DAGSTER_HOME_VARIABLE, LEASES_VARIABLE, RECORDINGS_VARIABLE, STORE_VARIABLE
from sort_assets.platform.cli.demo import DURATION_S, NUM_CHANNELS
from sort_assets.platform.pipeline.catalog import PIPELINE

_DEMO = "import sys; from sort_assets.platform.cli import main; sys.exit(main(['demo']))"
_SECONDS = re.compile(r"^([a-z_]+) {2,}([\d.]+) s *$", re.MULTILINE)


def rows(size: Size) -> Iterator[Row]:
    """The demo in a fresh home; in the whole run, once more in another one, with what is compiled by then."""
    with tempfile.TemporaryDirectory(prefix="sort_assets-demo-") as temporary:
        folder = Path(temporary)
        yield from _demo("on a fresh machine", folder / "first", folder / "compiled")
        if size == "full":
            yield from _demo("once more", folder / "second", folder / "compiled")


def _demo(when: str, folder: Path, compiled: Path) -> Iterator[Row]:
    folder.mkdir()
    places = {
        DAGSTER_HOME_VARIABLE: folder / "dagster",
        RECORDINGS_VARIABLE: folder / "recordings",
        STORE_VARIABLE: folder / "store",
        LEASES_VARIABLE: folder / "leases",
        "NUMBA_CACHE_DIR": compiled,
    }
    environment = {**os.environ, **{name: str(place) for name, place in places.items()}, "COLUMNS": "200"}
    log = folder / "demo.log"
    used = measure([sys.executable, "-c", _DEMO], log, environment=environment, folder=CHECKOUT)
    seconds = seconds_said(log.read_text(encoding="utf-8"))
    what = f"demo {when}, {DURATION_S:g} s x {NUM_CHANNELS} channels"
    parts = ", ".join(f"{name} {seconds[name]:.1f}" for name in PIPELINE)
    busy = f"cores that others used: {used.others_cores:.1f}; memory of all processes at most {used.memory_mb:.0f} MB"
    yield Row(what, used.wall_s, "s", None, busy)
    yield Row(f"{what}, beside the sort", used.wall_s - seconds["sorting"], "s", None, f"s of the steps: {parts}")
    yield Row(f"{what}, CPU time", used.cpu_s, "s")


def seconds_said(output: str) -> Mapping[str, float]:
    """The seconds of each asset, from the table that the demo prints at its end.

    Raises
    ------
    BenchmarkError
        An asset is not in it.
    """
    found = {name: float(seconds) for name, seconds in _SECONDS.findall(output)}
    if missing := set(PIPELINE) - set(found):
        raise BenchmarkError(f"The demo said nothing of {', '.join(sorted(missing))}:\n{output}")
    return found
