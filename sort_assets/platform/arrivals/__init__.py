"""How a recording on disk becomes a partition.

1. `sensor` ticks every 30 seconds; `scanner` does one scan, within the limits of `tick`.
2. `candidates` walks the recordings root and finds, by names alone, what may be a recording.
3. `classification` compares each candidate with its entry (`catalog_entry`) in the `recording_catalog`, and with the
   rules, and decides: keep, ignore, wait until it is complete, read, or refuse.
4. `plan` gathers these decisions as `actions`; for a recording that is complete it has `header_reader` read the header,
   in a process of its own, and `observations` says what is to be reported.
5. `apply` carries the actions out; `registration` adds the partitions. `dry_run` prints them instead.
6. `scanner` requests the runs, and `folder_report` shows which recordings need attention.

`resolver` finds the recording that a person means, and `removal` forgets or purges it.
"""
