"""Running a sorter: in a process of its own (`process`, `worker`, `job`) or inside this one (`in_process`).

`watchdogs` watch over it, `termination` ends it, `progress` reads how far it is.
"""
