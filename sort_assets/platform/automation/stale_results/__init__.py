"""Results that are stale: finding them, and having them made again by the sensor `stale_recordings`."""
