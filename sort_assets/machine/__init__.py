"""What this computer has and is: cores, memory, threads, GPUs and installed packages."""
