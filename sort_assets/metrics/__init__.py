"""Quality metrics of units, as one table with declared columns.

`analyzers` creates SpikeInterface's analyzer, `extensions` completes it, `unit_metrics` computes the table, `tables`
writes and reads it, `epochs` makes an analyzer of a part of the recording.

To add a metric that SpikeInterface computes, declare its columns in `columns`; to add one of our own, also write a
function in `own_metrics` and list it in `OWN_METRICS` there. `docs/how-to/add-a-metric.md` goes through it.

The package imports none of its modules: `columns` is on the import path of the code location, the others are heavy.
"""
