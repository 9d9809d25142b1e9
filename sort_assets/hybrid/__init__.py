"""Hybrid recordings: known units in a real recording, and how well a sorter finds them.

`donors` chooses well-isolated units of the recording itself, `placement` moves them to other depths and gives them
other amplitudes, `injection` adds their spikes to the recording and keeps the truth, and `accuracy` compares what a
sorter found with it: recall, precision and accuracy of each injected unit, and by amplitude, signal-to-noise ratio and
depth.
"""
