from sort_assets.recordings.formats.reading import natural_order


def test_numbers_are_counted_not_spelled() -> None:
    names = ["part_10.nwb", "part_2.nwb", "part_1.nwb"]

    assert sorted(names, key=natural_order) == ["part_1.nwb", "part_2.nwb", "part_10.nwb"]


def test_names_of_any_form_can_be_compared() -> None:
    names = ["b", "10", "a2b", "", "2", "a", "02"]

    assert sorted(names, key=natural_order) == ["", "02", "2", "10", "a", "a2b", "b"]
