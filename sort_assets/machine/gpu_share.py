"""The part of a GPU's memory that a sort may take which shares the GPU with others."""

CONTEXT_BYTES = 1024**3
"""What a process holds beside torch's own allocations, at most: CUDA's context and the code of its libraries."""


def share_bytes(total_bytes: int, sorts: int) -> int:
    """How much each of several sorts may allocate of a GPU's memory.

    Parameters
    ----------
    total_bytes : int
        Of the GPU.
    sorts : int
        That share it.

    Returns
    -------
    int
        At least 0.
    """
    return max(0, total_bytes // sorts - CONTEXT_BYTES)


def keep_to_share(sorts: int) -> None:
    """Let torch in this process allocate no more than the share of one of several sorts; nothing where it has all.

    Otherwise it keeps what it has once allocated, up to all of the GPU, and the others run out of memory. This starts
    CUDA.

    Parameters
    ----------
    sorts : int
        That share the first GPU that this process sees.
    """
    if sorts == 1:
        return
    import torch

    if not torch.cuda.is_available():
        return
    total_bytes = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(share_bytes(total_bytes, sorts) / total_bytes)
