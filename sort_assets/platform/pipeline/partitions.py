"""The one set of partitions: recordings, by their keys."""

import dagster as dg

RECORDINGS_PARTITIONS = "recordings"
PARTITION_TAG = "dagster/partition"
"""The tag of a run that names its partition."""

recordings = dg.DynamicPartitionsDefinition(name=RECORDINGS_PARTITIONS)
