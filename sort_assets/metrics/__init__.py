"""Quality metrics of units, as one table with declared columns."""
