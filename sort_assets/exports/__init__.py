"""Curated units in the formats that analyses read: NWB, npz and MATLAB, Phy, pynapple.

`units` has what is delivered (`DeliveredUnits`), `session` and `source_facts` what is known of session and subject,
`delivery` writes all configured formats with a README (`readme`).

To add a format, write a module with a `write_*` that takes `DeliveredUnits` and a path (`pynapple` is the shortest),
and add its name, its file suffix and its call to `delivery` and to `DeliveryConfig.formats`
(`sort_assets/config/units.py`). `plain_table` turns tables into plain arrays, which every format can hold.

The package imports none of its modules, because each format needs its own library.
"""
