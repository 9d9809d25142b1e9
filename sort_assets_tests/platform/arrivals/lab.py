"""A recordings root and somebody who looks at it, with a clock that the tests turn."""

import dagster as dg

from sort_assets.platform.arrivals.catalog_entry import State
from sort_assets.platform.arrivals.header_reader import HeaderReader
from sort_assets.platform.arrivals.observations import RAW
from sort_assets.platform.arrivals.scanner import RecordingScanner
from sort_assets.platform.arrivals.tick import Limits, ScanResult
from sort_assets.platform.pipeline.partitions import RECORDINGS_PARTITIONS
from sort_assets_tests.fixtures.home import Home

QUIET_S = 60.0


class Lab:
    """A recordings root, an instance, and somebody who looks from time to time."""

    def __init__(self, home: Home, instance: dg.DagsterInstance, reader: HeaderReader) -> None:
        self.home, self.instance, self.reader = home, instance, reader
        self.root = home.roots.recordings
        self.catalog = home.catalog()
        self.now = 1_000_000.0
        self.tick = 0
        self.limits = Limits(walk_s=60.0, read_s=120.0)

    def scan(self, later_s: float = 0.0) -> ScanResult:
        """Look, some seconds later; the requests of the look before have arrived."""
        self.now += later_s
        scanner = RecordingScanner(
            self.instance, self.home.roots, self.reader, sensor="s", limits=self.limits, clock=lambda: self.now
        )
        look = scanner.tick(self.tick)
        self.tick = look.tick
        return look

    def arrive(self) -> ScanResult:
        """See it, and look again when it has been quiet for long enough."""
        self.scan()
        return self.scan(QUIET_S)

    def keys(self) -> set[str]:
        return set(self.instance.get_dynamic_partitions(RECORDINGS_PARTITIONS))

    def observed(self, key: str, asset: str = RAW) -> list[dg.AssetObservation]:
        """What was observed of an asset of a recording, newest first."""
        records = self.instance.fetch_observations(
            dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=[key]), limit=10
        ).records
        return [record.asset_observation for record in records if record.asset_observation]

    def state(self, path: str) -> State | None:
        entry = self.catalog.get(path)
        return None if entry is None else entry.state

    def rules(self, text: str) -> None:
        (self.root / "sort_assets.yaml").write_text(text, encoding="utf-8")
