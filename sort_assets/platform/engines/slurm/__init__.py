"""Slurm as the engine: each run, or each step that needs a GPU, is a job of a cluster."""
