"""The watchdogs of a sort: each checks one sign of trouble and ends the sorter if necessary.

`sort_watchdogs` lists them; a new one is a subclass of `base.Watchdog` that it adds.
"""
