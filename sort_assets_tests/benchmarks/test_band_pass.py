from benchmarks.band_pass import rows


def test_the_band_pass_is_measured_beside_spikeinterfaces_and_a_copy() -> None:
    figures = {row.name.removeprefix("0.5 s of 64 channels: "): row.figure for row in rows("small")}

    assert figures.keys() >= {"this project", "SpikeInterface's save", "copy", "beside SpikeInterface's save"}
    assert all(figure is not None and figure > 0 for figure in figures.values())
