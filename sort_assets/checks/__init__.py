"""What a person would look for in finished results, each as a function that returns a `CheckResult` (`checks.result`).

Nothing here knows Dagster. A check never raises because there is nothing to check: without units, positions or enough
spikes it passes, and its description says why.

This package imports none of its modules: all but `checks.result` need numpy, and the code location imports without it.
"""
