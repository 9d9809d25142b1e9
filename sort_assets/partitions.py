"""The one set of partitions: recordings. A partition's key is a `RecordingKey`."""

import dagster as dg

RECORDINGS_PARTITIONS = "recordings"

recordings = dg.DynamicPartitionsDefinition(name=RECORDINGS_PARTITIONS)
