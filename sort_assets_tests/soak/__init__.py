"""Soak and chaos: many small recordings arrive while processes are killed and the database is cut, at random by a seed.

`python -m sort_assets_tests.soak --help`, or `make soak`. What it found is in the table that it writes.
"""
