from sort_assets.machine.threads import threads_within


def test_threads_share_a_quarter_of_the_available_memory() -> None:
    chunk_bytes = 384 * 30_000 * 4

    assert threads_within(256 * 2**30, 16, chunk_bytes) == 16
    assert threads_within(8 * 2**30, 16, chunk_bytes) == 7  # of 276 MB each, from 2147 MB
    assert threads_within(2**20, 16, chunk_bytes) == 1
    assert threads_within(2**30, 16, 0) == 16
