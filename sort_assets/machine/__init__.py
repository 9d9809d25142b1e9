"""What this computer has and is.

`cores` counts the usable CPU cores, `memory` what may still be allocated, `threads` how many threads may work; `gpus`
finds the GPUs, `gpu_sensors` reads what they say while a sort runs, `cuda_check` finds out whether torch can compute on
one. `versions` and `torch_build` look at installed packages, and `preflight` at whether all of it is enough for a sort.

`pid_namespace` says whether this is a container. `user_cache` is where what was found out is kept for the next process.

A driver may hang: `nvml_listing` and `cuda_start` are programs that `bounded_child` runs and gives up after a while.
"""
