"""Dagster's webserver, which looks up all partitions of a request at once, and rests while nobody asks.

The verdicts of a check are asked for with every page that shows an asset. Dagster (1.13.27) then asks its database of
each recording in turn whether it is a partition: 5 ms each, so that with 2,000 recordings a page takes more than ten
seconds. It has no setting for that.
"""

from dagster._core.instance.types import CachingDynamicPartitionsLoader
from dagster_webserver.cli import main
from uvicorn import Server

from sort_assets.platform.execution.code_server import look_less_often
from sort_assets.platform.execution.database_wait import wait_shortly_for_database
from sort_assets.platform.execution.figure_server import SlowTickingServer

_KEYS = "_sort_assets_partition_keys"


def has_dynamic_partition(loader: CachingDynamicPartitionsLoader, partitions_def_name: str, partition_key: str) -> bool:
    """Whether a partition exists, by one query for all partitions of a request, which has a loader of its own."""
    known: dict[str, set[str]] = loader.__dict__.setdefault(_KEYS, {})
    if partitions_def_name not in known:
        known[partitions_def_name] = set(loader.get_dynamic_partitions(partitions_def_name))
    return partition_key in known[partitions_def_name]


def look_up_all_partitions_at_once() -> None:
    """Change the loader of this process."""
    CachingDynamicPartitionsLoader.has_dynamic_partition = has_dynamic_partition  # type: ignore[method-assign,assignment]


if __name__ == "__main__":
    look_up_all_partitions_at_once()
    look_less_often()
    Server.main_loop = SlowTickingServer.main_loop  # type: ignore[method-assign,assignment]
    wait_shortly_for_database()  # a browser gives up sooner
    main()  # type: ignore[no-untyped-call]
