"""Checks of finished results: what a person would look for, each as a function that returns a `result.CheckResult`.

A check never raises because there is nothing to check: without units, positions or enough spikes it passes, and its
description says why. To add one, write such a function here; the asset whose result it checks calls it.

This package imports none of its modules: all but `result` need numpy, which the code location must not import.
"""
