"""How long a scan of the recordings root takes with many known and some new recordings, and how fast many register.

    python benchmarks/arrivals.py --known 50000 --new 10
    python benchmarks/arrivals.py --known 0 --new 1000

Known recordings are files of one byte that are said to be registered, which a scan never opens; new ones are NWB files
of 4 channels and half a second. Prints seconds of wall time, with the load of the machine beside it.
"""

import argparse
import os
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from sort_assets.platform.arrivals.catalog_entry import CatalogPartition, State
from sort_assets.platform.arrivals.folder_report import report_folder
from sort_assets.platform.arrivals.header_reader import HeaderReader
from sort_assets.platform.arrivals.recording_catalog import RecordingCatalog
from sort_assets.platform.arrivals.scanner import WITHOUT_LIMITS, RecordingScanner
from sort_assets.platform.execution.home import open_instance, prepare_home
from sort_assets.platform.pipeline.partitions import RECORDINGS_PARTITIONS
from sort_assets.recordings.key import RecordingKey
from sort_assets.testing.ground_truth import make_ground_truth
from sort_assets.testing.nwb import write_nwb

QUIET_S = 61.0
PER_FOLDER = 1000
ASSETS = ("raw_recording", "recording_settings", "sorter_settings", "waveform_settings", "session_facts")


def main() -> None:
    """Make a folder, scan it, and print how long that took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--known", type=int, default=50_000)
    parser.add_argument("--new", type=int, default=10)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ["DAGSTER_HOME"] = str(folder / "dagster")
        os.environ["SORT_ASSETS_RECORDINGS"] = str(folder / "recordings")
        os.environ["SORT_ASSETS_STORE"] = str(folder / "store")
        measure(folder, arguments.known, arguments.new)


def measure(folder: Path, num_known: int, num_new: int) -> None:
    """Print the time of each scan until all new recordings are registered, and of one more."""
    roots = prepare_home()
    known = RecordingCatalog(roots.store)
    reader = HeaderReader()
    reader.prepare(60.0)
    now = 1e6
    with open_instance() as instance:
        scanner = RecordingScanner(instance, roots, reader, sensor="new_recordings", clock=lambda: now)

        def scan(what: str) -> int:
            start = time.perf_counter()
            found = scanner.tick(0)
            report_folder(instance, roots, known)
            print(
                f"{what}: {time.perf_counter() - start:.2f} s, {len(found.registered)} registered, "
                f"{found.waiting} waiting, {found.unread} left (load {os.getloadavg()[0]:.1f})"
            )
            return len(found.registered)

        for index in range(num_known):
            path = roots.recordings / f"day{index // PER_FOLDER:03d}" / f"{index:06d}.nwb"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"x")
        RecordingScanner(instance, roots, reader, sensor="", limits=WITHOUT_LIMITS, clock=lambda: now).tick(0)
        rows = known.all().values()
        known.put(*(replace(row, state=State.REGISTERED, read_stamp=row.stamp, fingerprint="x") for row in rows))
        keys = {row.path: str(RecordingKey(row.path)) for row in rows}
        known.put_partitions(*(CatalogPartition(key, path, dict.fromkeys(ASSETS, "x")) for path, key in keys.items()))
        if keys:
            instance.add_dynamic_partitions(RECORDINGS_PARTITIONS, list(keys.values()))
        recording, _ = make_ground_truth(duration_s=0.5, num_channels=4, num_units=2)
        small = write_nwb(recording, folder / "small.nwb")
        for index in range(num_new):
            shutil.copy(small, roots.recordings / f"new{index:04d}.nwb")

        os.sync()  # what was just made is no part of a scan
        scan(f"{num_known} known, {num_new} new seen")
        registered = 0
        while registered < num_new:
            now += QUIET_S
            registered += scan(f"{num_known} known, {num_new - registered} complete")
        scan(f"{num_known + num_new} known, nothing new")
    reader.close()


if __name__ == "__main__":
    main()
