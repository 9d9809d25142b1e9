"""The platform: recordings as Dagster partitions, results as Dagster assets."""
