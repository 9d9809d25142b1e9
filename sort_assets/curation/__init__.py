"""Which units are kept, why, and how to repeat every step of it.

`curate` decides on all units: by thresholds (`criteria`), Bombcell's labels (`bombcell`), `duplicates`, suggested
merges (`merging`) and what a person decided (`manual`, `phy`). `decisions` has the decision on a unit and the table of
all, `history` the steps, which SpikeInterface alone can apply again.

A criterion that is a threshold on a metric needs no code: name the column in `curation.thresholds` of the
configuration. To give one a field of its own, add the field to `CurationConfig` (`sort_assets/config/units.py`) and to
`criteria_of`; to add another kind of rule, call it in `curate`.

The package imports none of its modules: `decisions` is on the import path of the code location, the others are heavy.
"""
