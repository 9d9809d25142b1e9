"""Where and when steps run: the executor, the GPU leases, and what the instance must provide."""
