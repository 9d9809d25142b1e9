"""What executes runs and steps beyond this machine: Slurm, Ray and Kubernetes, chosen by `SORT_ASSETS_ENGINE`."""
