"""Checks of finished results: what a person would look for, each as a function that returns a `result.CheckResult`.

Nothing here knows Dagster. A check never raises because there is nothing to check: without units, positions or enough
spikes it passes, and its description says why.

One module per subject: `spikes` (order, duplicates), `batch_edges`, `refractory`, `stability`, `drift`,
`usual_on_rig` (yield and noise compared with the rig's history) and `recall` (of injected units, likewise). To add a
check, write such a function; list its name and call it in the asset whose results it reads
(`sort_assets/platform/pipeline/assets/`).

This package imports none of its modules: most of them need numpy, which the code location must not import.
"""
