"""The pipeline: the assets, and what every asset does around its one call of the sorting library."""
