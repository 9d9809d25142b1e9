from sort_assets.reports import Parameter, parameters_in_force, with_shape_choices

CONFIG = {
    "sorter": {"name": "kilosort4", "params": {"batch_size": 30000}},
    "curation": {"min_snr": 5.0, "thresholds": {}},
}


def test_chosen_parameters_come_first_with_who_chose_them() -> None:
    lines = parameters_in_force(CONFIG, {"sorter.params.batch_size": "rules.yaml"})

    assert lines[0] == Parameter("sorter.params.batch_size", "30000", "rules.yaml")
    assert lines[1:] == (
        Parameter("sorter.name", "kilosort4"),
        Parameter("curation.min_snr", "5.0"),
        Parameter("curation.thresholds", "{}"),
    )


def test_who_chose_a_section_chose_what_is_in_it() -> None:
    lines = parameters_in_force(CONFIG, {"sorter": "preset", "sorter.name": "run"})

    assert {line.name: line.chosen_by for line in lines} == {
        "sorter.name": "run",
        "sorter.params.batch_size": "preset",
        "curation.min_snr": "",
        "curation.thresholds": "",
    }


def test_what_the_shape_decided_of_the_sorters_input_is_not_called_a_parameter() -> None:
    lines = with_shape_choices((), {"": {"input.common_reference": {"value": True, "reason": "64 channels."}}})

    assert lines == (Parameter("input.common_reference", "true", "the recording's shape: 64 channels."),)


def test_what_the_shape_decided_comes_first_with_its_reason() -> None:
    tetrode = {"do_CAR": {"value": False, "reason": "4 channels are sorted together."}}
    chosen = {"0": tetrode, "1": tetrode, "shank": {"nblocks": {"value": 0, "reason": "Too few for drift."}}}

    lines = with_shape_choices((Parameter("sorter.name", "kilosort4"),), chosen)

    assert lines == (
        Parameter(
            "sorter.params.do_CAR", "false", "the recording's shape: 4 channels are sorted together. (groups 0, 1)"
        ),
        Parameter("sorter.params.nblocks", "0", "the recording's shape: Too few for drift. (groups shank)"),
        Parameter("sorter.name", "kilosort4"),
    )
