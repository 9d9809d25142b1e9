"""What this computer has and is.

`cores` counts the usable CPU cores, `memory` what may still be allocated, `threads` how many threads may work; `gpus`
finds the GPUs and reads their sensors; `versions` looks at installed packages, and `preflight` at whether all of it is
enough for a sort.
"""
