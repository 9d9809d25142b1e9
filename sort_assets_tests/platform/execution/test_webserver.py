"""What the webserver asks of its database to show the verdicts of all recordings."""

import dagster as dg
from dagster._core.instance.types import CachingDynamicPartitionsLoader

from sort_assets.platform.execution.webserver import has_dynamic_partition
from sort_assets.platform.pipeline.partitions import RECORDINGS_PARTITIONS
from sort_assets_tests.fixtures.home import Home


class CountingLoader(CachingDynamicPartitionsLoader):
    """Notes each time that all partitions are read, and knows no other way."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        super().__init__(instance)
        self.reads = 0

    def get_dynamic_partitions(self, partitions_def_name: str) -> list[str]:
        self.reads += 1
        return list(super().get_dynamic_partitions(partitions_def_name))


def test_all_partitions_are_looked_up_at_once(home: Home) -> None:
    with home.instance() as instance:
        instance.add_dynamic_partitions(RECORDINGS_PARTITIONS, ["a.nwb", "b.nwb"])
        loader = CountingLoader(instance)

        found = {key: has_dynamic_partition(loader, RECORDINGS_PARTITIONS, key) for key in ("a.nwb", "b.nwb", "c.nwb")}

        assert found == {key: loader._instance.has_dynamic_partition(RECORDINGS_PARTITIONS, key) for key in found}
        assert loader.reads == 1


def test_dagster_still_asks_for_each_partition_in_turn(home: Home) -> None:
    """Once it does not, `sort_assets.platform.execution.webserver` is no longer needed."""
    with home.instance() as instance:
        instance.add_dynamic_partitions(RECORDINGS_PARTITIONS, ["a.nwb"])
        loader = CountingLoader(instance)

        assert loader.has_dynamic_partition(RECORDINGS_PARTITIONS, "a.nwb")

        assert loader.reads == 0
