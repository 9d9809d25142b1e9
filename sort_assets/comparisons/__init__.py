"""Two sortings, or several, against each other: which units are the same, and what became of the others.

SpikeInterface counts coincident spikes and matches units; `fates` names what became of each, `sortings` compares two
sortings, `unit_places` puts positions and templates side by side, `consensus` finds the units on which sorters agree.
"""
