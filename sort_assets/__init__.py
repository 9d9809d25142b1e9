"""sort_assets: a Dagster asset platform for spike sorting."""
